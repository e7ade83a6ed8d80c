/*
 * What a daemon does with its process: exit statuses, descriptors, notify socket and watchdog.
 */
#pragma once

#include "core/clock.h"
#include "core/error.h"

/* Exit statuses (sysexits.h numbers where one fits); docs/operations.md has the table. */
enum exit_status {
    EXIT_OK = 0,
    EXIT_FAILED = 1,       /* the task failed (--wait), nothing found */
    EXIT_USAGE = 2,        /* wrong command line */
    EXIT_UNREACHABLE = 69, /* Redis or PostgreSQL cannot be reached, or not in time */
    EXIT_INTERNAL = 70,
    EXIT_DENIED = 77, /* wrong password, no permission */
    EXIT_CONFIG = 78, /* configuration or module that cannot be used */
};

/* What an error code means for the caller of the program. */
enum exit_status process_exit_status(int code);

/* sd_notify(3) through libsystemd; do nothing without NOTIFY_SOCKET. `status` is one line. */
void process_notify_ready(const char *status);
void process_notify_status(const char *status);
void process_notify_reloading(void);
void process_notify_stopping(void);
void process_notify_watchdog(void);
/* Half of WATCHDOG_USEC when the manager asked this process, else 0. */
usec_t process_watchdog_interval(void);

/* For a thread beside the loop's: signals are for the loop's thread, which may hold them. */
void process_block_signals(void);

/* Host name as Celery shows it; "%h" in a node name. Writes at most `size` bytes. */
void process_hostname(char *buffer, size_t size);
/* Resident memory in bytes of this process, and of another one; 0 when it cannot be read. */
uint64_t process_rss(void);
uint64_t process_rss_of(int64_t pid);
/* Address space of this process in bytes, 0 when it cannot be read. */
uint64_t process_address_space(void);
/* The most so far. */
uint64_t process_peak_rss(void);
void process_close_on_exec(int fd);
