/* SPDX-License-Identifier: Apache-2.0
 *
 * What Redis does for the directory in one step. All of it is Lua 5.1 as Redis 6 and later run it;
 * keys are KEYS alone.
 */
#ifndef GATEPOST_ROUTING_DIRECTORY_SCRIPTS_INTERNAL_H
#define GATEPOST_ROUTING_DIRECTORY_SCRIPTS_INTERNAL_H

/* SCRIPT_CONFIRM confirms a hold: KEYS are the hold, the move and the registration; ARGV the epoch,
 * the name of this proxy, its incarnation, and for how many milliseconds a confirmation is kept at
 * least, and where the hold has no end. 1: confirmed. 0: it is another hold, or none. -1: this
 * process is not the one that is registered by that name. */
#define SCRIPT_CONFIRM                                                                             \
	"if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "                              \
	"if redis.call('HGET', KEYS[3], 'incarnation') ~= ARGV[3] then return -1 end "             \
	"redis.call('HSET', KEYS[2], ARGV[2], ARGV[1]) "                                           \
	"local rest = redis.call('PTTL', KEYS[1]) "                                                \
	"if rest < 0 then rest = tonumber(ARGV[5]) end "                                           \
	"redis.call('PEXPIRE', KEYS[2], math.max(rest, tonumber(ARGV[4]))) "                       \
	"return 1"

/* SCRIPT_REGISTER registers a process: KEYS is the registration; ARGV the incarnation, 'take' to
 * have the name whoever has it, or 'keep', and then fields and values. 1: registered. 0: another
 * process has the name. What is registered already need not be written for that. */
#define SCRIPT_REGISTER                                                                            \
	"local owner = redis.call('HGET', KEYS[1], 'incarnation') "                                \
	"if owner == ARGV[1] then redis.pcall('HSET', KEYS[1], unpack(ARGV, 3)) return 1 end "     \
	"if owner and ARGV[2] == 'keep' then return 0 end "                                        \
	"redis.call('DEL', KEYS[1]) "                                                              \
	"redis.call('HSET', KEYS[1], unpack(ARGV, 3)) "                                            \
	"return 1"

/* SCRIPT_RETIRE takes a registration back: KEYS is it, ARGV the incarnation. 1: it is gone. 0: it
 * was another's, or none. */
#define SCRIPT_RETIRE                                                                              \
	"if redis.call('HGET', KEYS[1], 'incarnation') ~= ARGV[1] then return 0 end "              \
	"redis.call('DEL', KEYS[1]) "                                                              \
	"return 1"

/* SCRIPT_EXCHANGE puts a route in the place of another: KEYS is its key; ARGV the old and the new.
 * 1: done. 0: it is another one by now. */
#define SCRIPT_EXCHANGE                                                                            \
	"if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "                              \
	"redis.call('SET', KEYS[1], ARGV[2]) "                                                     \
	"return 1"

#endif
