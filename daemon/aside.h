/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Work that takes longer than others may wait: done in a thread of its own, which takes turns with
 * the event loop. One of the two runs at a time: what is shared needs no lock, and it is read and
 * changed as if there were no thread, but that at each aside_pause() everybody else may have had
 * their turn. Only what nobody else has may be worked on beside the loop: aside_apart().
 *
 * Outside of such a thread both do nothing, or work at once: code that uses them runs anywhere.
 */
#ifndef NANOSEG_DAEMON_ASIDE_H
#define NANOSEG_DAEMON_ASIDE_H

#include <stdbool.h>

struct event_base;

typedef void (*aside_fn)(void *arg);

/*
 * Begins work(arg), which gets its first turn at once. 1: that was all, done is not called; 0: it
 * goes on, and done(arg) is called by the loop when it is over. Without a loop (base NULL) or
 * without a thread it is all done at once.
 */
int aside_start(struct event_base *base, aside_fn work, aside_fn done, void *arg);
/* The loop's turn if this one was long enough. */
void aside_pause(void);
/* Is this such a thread, in its turn? */
bool aside_here(void);
/* The loop's turns until *until_false is false. */
void aside_wait(const bool *until_false);
/* fn(arg) beside the loop. It may use what arg alone leads to, and nothing of the controller. */
void aside_apart(aside_fn fn, void *arg);
/* The end of the loop: all of it is done now. */
void aside_finish(void);

#endif
