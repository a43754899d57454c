SUMMARY = "Runs, makes, evaluates and serves quantized language models"
DESCRIPTION = "Quantized language models in GGUF files, with the same bits on every instruction set, thread count and batch: \
all commands, a demo model, and the server as a service."
SECTION = "utils"

require siskin.inc

inherit systemd useradd

CARGO_SRC_DIR = "tools/cli"
CARGO_PROFILE = "dist"

do_install:append() {
    install -D -m 0644 ${S}/targets/packages/debian/siskin.service ${D}${systemd_system_unitdir}/siskin.service
    install -D -m 0644 ${S}/targets/packages/debian/serve.conf ${D}${sysconfdir}/siskin/serve.conf
}

CONFFILES:${PN} = "${sysconfdir}/siskin/serve.conf"

SYSTEMD_SERVICE:${PN} = "siskin.service"
SYSTEMD_AUTO_ENABLE = "disable"
USERADD_PACKAGES = "${PN}"
USERADD_PARAM:${PN} = "--system --home-dir ${localstatedir}/lib/siskin --no-create-home --shell ${base_sbindir}/nologin --user-group siskin"

RCONFLICTS:${PN} = "siskin"
