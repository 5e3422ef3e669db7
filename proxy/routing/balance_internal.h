/* SPDX-License-Identifier: Apache-2.0
 *
 * The logarithm of the balance: the same number on every machine.
 */
#ifndef GATEPOST_ROUTING_BALANCE_INTERNAL_H
#define GATEPOST_ROUTING_BALANCE_INTERNAL_H

#include <stdint.h>

#define BALANCE_PLACES 40

/* balance_logarithm is -log2((hash + 1) / 2^64) with BALANCE_PLACES binary places, rounded up: 0 to
 * 64, and less the greater the hash. */
uint64_t balance_logarithm(uint64_t hash);

#endif
