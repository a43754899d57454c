SUMMARY = "Runs quantized language models"
DESCRIPTION = "Quantized language models in GGUF files, with the same bits on every instruction set, thread count and batch: \
run, chat, plan and doctor."
SECTION = "utils"

require siskin.inc

CARGO_SRC_DIR = "tools/cli"
CARGO_PROFILE = "small"
CARGO_BUILD_FLAGS:append = " --no-default-features --features types,avx512-vnni,avx-vnni,neon-i8mm,neon-dotprod"

RCONFLICTS:${PN} = "siskin-server"
