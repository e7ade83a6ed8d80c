/*
 * Errors as Celeriac hands them to applications: a negative code and a sentence.
 *
 * A function that can fail returns 0 on success and a negative code otherwise: a negated errno
 * value (-ETIMEDOUT, -ENOMEM, -EINVAL ...) or one of the codes below. Where a function takes a
 * `struct cel_error *`, it may be NULL; on failure it is filled with the same code and a sentence
 * that names what failed, where, and what to do. The sentence never holds a password.
 */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CEL_API __attribute__((visibility("default")))
#else
#define CEL_API
#endif

enum cel_error_code {
    CEL_E_FORMAT = -20001,      /* bytes or text that are not what they should be */
    CEL_E_LIMIT = -20002,       /* larger, deeper or more than a documented limit */
    CEL_E_REFUSED = -20003,     /* a content type that is not accepted (pickle, yaml) */
    CEL_E_CONFIG = -20004,      /* a configuration value that cannot be used */
    CEL_E_AUTH = -20005,        /* the server refused user or password */
    CEL_E_SERVER = -20006,      /* the server answered with an error */
    CEL_E_UNCERTAIN = -20007,   /* the connection ended with a command under way: it may have run */
    CEL_E_DATABASE = -20008,    /* PostgreSQL answered with an error */
    CEL_E_UNSUPPORTED = -20009, /* known, and not supported by this version, or by the server's */
    CEL_E_UNCONFIRMED = -20010, /* done, but replicas or disk have not confirmed it in time */
};

struct cel_error {
    int code;       /* 0, or what the function returned */
    char text[508]; /* a sentence for a person, terminated; empty when code is 0 */
};

/* Returns a short constant name for `code` ("timed out", "format"), never NULL. Any thread. */
CEL_API const char *cel_error_name(int code);

#ifdef __cplusplus
}
#endif
