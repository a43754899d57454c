//! The header that is committed is the one that the crate makes.

use std::path::Path;

#[test]
fn the_header_is_that_of_the_crate() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(here.join("cbindgen.toml")).unwrap();
    let mut header = Vec::new();
    cbindgen::Builder::new().with_crate(here).with_config(config).generate().unwrap().write(&mut header);
    let header = String::from_utf8(header).unwrap();
    let major_minor_patch = env!("CARGO_PKG_VERSION").split('.');
    for (name, number) in ["MAJOR", "MINOR", "PATCH"].into_iter().zip(major_minor_patch) {
        let line = format!("#define SISKIN_VERSION_{name} {number}\n");
        assert!(header.contains(&line), "cbindgen.toml: expected {line}");
    }
    let committed = here.join("include/siskin.h");
    if std::env::var_os("SISKIN_WRITE_HEADER").is_some() {
        #[allow(clippy::disallowed_methods, reason = "it is the file that is asked for")]
        std::fs::write(&committed, &header).unwrap();
    }
    let committed = std::fs::read_to_string(committed).unwrap_or_default();
    assert!(
        committed == header,
        "include/siskin.h is out of date: SISKIN_WRITE_HEADER=1 cargo test -p siskin-c --test header"
    );
}
