/*
 * RapidJSON 1.1 as the reader behind core/json.c; why this library: docs/dependencies.md.
 *
 * No C++ run time: no exceptions, no type information, no streams, no operator new (a test looks at
 * the symbols of this file). Memory: the reader works inside `scratch`, its copy of the document,
 * and strings shrink in place when they are unescaped. Its only other memory is a stack that keeps
 * eight bytes for each open container. RapidJSON does not check whether that stack could grow, so
 * it never has to: `StackMemory` below holds all of it, for one container more than the events let
 * through (the library pushes before it asks), and reading thus cannot run out of memory at all.
 *
 * Three things are worked around:
 * - Its check of UTF-8 (kParseValidateEncodingFlag) reads up to three bytes behind a document that
 * ends inside a character (UTF8::Validate goes on after the first wrong byte), and makes
 * reading 2.6 times slower. So the caller checks the whole document before.
 * - Numbers of more than 308 digits and exponents beyond a double are errors to RapidJSON, even
 * when it is told to leave numbers alone (ParseNumber, kParseErrorNumberTooBig), but not to Python,
 * and RSA keys have 600 digits. Such a document is read a second time, with every number in
 *   `scratch` overwritten by 0 and blanks of the same length; the event gets the characters of
 *   `text` at the same place. What they are is then for the event to check.
 * - Reading ends at a zero byte, so what stands behind one is looked for afterwards.
 */
#include "core/json_reader.h"

#include <string.h>

extern "C" {
#include "core/attr.h"
}

/* A slip of the library's own book-keeping ends the process rather than writing past its stack. */
#define RAPIDJSON_ASSERT(condition) ASSERT(condition)
#define RAPIDJSON_NEW(object)       nullptr
#define RAPIDJSON_DELETE(pointer)   static_cast<void>(pointer)
#include <rapidjson/error/en.h>
#include <rapidjson/reader.h>

namespace
{

const unsigned parse_flags = rapidjson::kParseInsituFlag | rapidjson::kParseIterativeFlag |
                             rapidjson::kParseNumbersAsStringsFlag | rapidjson::kParseNanAndInfFlag;

/* All the memory the reader's stack will ever ask for, handed out once. */
class StackMemory
{
  public:
    static const size_t size = (JSON_READER_DEPTH_MAX + 1) * 2 * sizeof(rapidjson::SizeType);

    void *Malloc(size_t wanted)
    {
        ASSERT(wanted <= size);
        return bytes;
    }
    void *Realloc(void *old, size_t, size_t wanted)
    {
        ASSERT(!old);
        return Malloc(wanted);
    }
    static void Free(void *)
    {
    }

  private:
    alignas(rapidjson::SizeType) char bytes[size];
};

bool begins_number(char c)
{
    return c == '-' || (c >= '0' && c <= '9');
}

bool continues_number(char c)
{
    return begins_number(c) || c == '+' || c == '.' || c == 'e' || c == 'E';
}

size_t number_length(const char *text, size_t left)
{
    size_t len = 0;
    while (len < left && continues_number(text[len]))
        len++;
    return len;
}

/* From the opening quote of a string to behind the closing one. */
size_t string_length(const char *text, size_t left)
{
    size_t len = 1;
    while (len < left && text[len] != '"')
        len += text[len] == '\\' ? 2 : 1;
    return len < left ? len + 1 : left;
}

void blank_numbers(char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t part = 1;
        if (text[at] == '"') {
            part = string_length(text + at, len - at);
        } else if (begins_number(text[at])) {
            part = number_length(text + at, len - at);
            if (at + part == len || text[at + part] != 'I') { /* not -Infinity */
                memset(text + at, ' ', part);
                text[at] = '0';
            }
        }
        at += part;
    }
}

/* The library's events, handed on. */
class Events
{
  public:
    Events(const json_reading *reading_, const json_events *events_, void *data_)
        : reading(reading_), events(events_), data(data_)
    {
    }

    bool Null()
    {
        return events->null(data);
    }
    bool Bool(bool b)
    {
        return events->boolean(data, b);
    }
    bool RawNumber(const char *digits, rapidjson::SizeType len, bool)
    {
        size_t at = static_cast<size_t>(digits - reading->scratch);
        if (!reading->huge_numbers || !begins_number(reading->text[at]) || *digits != '0')
            return events->number(data, digits, len);
        return events->number(data, reading->text + at,
                              number_length(reading->text + at, reading->len - at));
    }
    bool String(const char *text, rapidjson::SizeType len, bool)
    {
        return events->string(data, text, len);
    }
    bool Key(const char *text, rapidjson::SizeType len, bool)
    {
        return events->key(data, text, len);
    }
    bool StartObject()
    {
        return events->open_map(data);
    }
    bool EndObject(rapidjson::SizeType)
    {
        return events->close_map(data);
    }
    bool StartArray()
    {
        return events->open_list(data);
    }
    bool EndArray(rapidjson::SizeType)
    {
        return events->close_list(data);
    }

    /* The library compiles calls of these, which its flags keep it from making. */
    bool Int(int)
    {
        return false;
    }
    bool Uint(unsigned)
    {
        return false;
    }
    bool Int64(int64_t)
    {
        return false;
    }
    bool Uint64(uint64_t)
    {
        return false;
    }
    bool Double(double)
    {
        return false;
    }

  private:
    const json_reading *reading;
    const json_events *events;
    void *data;
};

} // namespace

extern "C" enum json_reader_result
json_reader_run(struct json_reading *reading, const struct json_events *events, void *data)
{
    if (reading->len > 0)
        memcpy(reading->scratch, reading->text, reading->len);
    reading->scratch[reading->len] = '\0';
    if (reading->huge_numbers)
        blank_numbers(reading->scratch, reading->len);

    StackMemory memory;
    rapidjson::GenericReader<rapidjson::UTF8<>, rapidjson::UTF8<>, StackMemory> reader(
        &memory, StackMemory::size);
    rapidjson::InsituStringStream stream(reading->scratch);
    Events handler(reading, events, data);
    rapidjson::ParseResult result = reader.Parse<parse_flags>(stream, handler);

    reading->offset = result.IsError() ? result.Offset() : stream.Tell();
    reading->reason = rapidjson::GetParseError_En(result.Code());
    if (result.Code() == rapidjson::kParseErrorTermination)
        return JSON_READER_STOPPED;
    if (result.Code() == rapidjson::kParseErrorNumberTooBig && !reading->huge_numbers)
        return JSON_READER_HUGE_NUMBERS;
    if (result.IsError())
        return JSON_READER_INVALID;
    if (reading->offset == reading->len)
        return JSON_READER_DONE;
    reading->reason = "A zero byte stands behind the value.";
    return JSON_READER_INVALID;
}
