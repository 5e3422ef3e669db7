#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What the binary is linked with, and how it is hardened. OpenSSL beside BoringSSL would bind
# hundreds of symbols to the wrong library without a word.
set -u
binary=$1
failed=0

fault() {
	echo "$binary: $1"
	failed=1
}

libraries=$(ldd "$binary") || fault "ldd fails"
for library in libssl.so.3 libcrypto.so.3 libssl.so.1 libcrypto.so.1 libhiredis_ssl; do
	case $libraries in
	*"$library"*) fault "is linked with $library" ;;
	esac
done
case $libraries in
*"not found"*) fault "a library is not found: $(echo "$libraries" | grep 'not found')" ;;
esac

readelf -hW "$binary" | grep -q 'Type:.*DYN' || fault "not position-independent (PIE)"
readelf -lW "$binary" | grep -q GNU_RELRO || fault "no RELRO"
readelf -dW "$binary" | grep -Eq 'BIND_NOW|FLAGS.* NOW' || fault "symbols are bound lazily"
readelf -lW "$binary" | grep GNU_STACK | grep -q 'RWE' && fault "the stack is executable"
symbols=$(readelf -sW "$binary")
case $symbols in
*__stack_chk_fail*) ;;
*) fault "no stack protector" ;;
esac
case $symbols in
*_chk@*) ;;
*) fault "not built with _FORTIFY_SOURCE" ;;
esac
exit "$failed"
