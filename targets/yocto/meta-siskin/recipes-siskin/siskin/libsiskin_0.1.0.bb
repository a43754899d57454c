SUMMARY = "C library for quantized language models"
DESCRIPTION = "Quantized language models in GGUF files for C and C++ programs, with the same bits on every instruction set, \
thread count and batch."
SECTION = "libs"

require siskin.inc

CARGO_SRC_DIR = "engine/c"
CARGO_PROFILE = "library"

do_install() {
    CC="${CC}" ${S}/engine/c/install ${prefix} --libdir ${baselib} --destdir ${D} \
        --archive ${B}/target/${CARGO_TARGET_SUBDIR}/libsiskin_c.a
}

BBCLASSEXTEND = "native nativesdk"
