//! Saved states: what comes back, and what is refused.

use crate::parts::{Parts, family, golden, ids, ids_in};
use proptest::prelude::*;
use siskin::{CacheType, CacheTypes, Isa, Model, Session, SessionOptions, StateError};
use siskin_quant::TensorType;
use std::io::Cursor;

fn options(context: usize, cache: CacheTypes) -> SessionOptions {
    SessionOptions::default().context(context).threads(2).cache(cache)
}

fn saved(session: &Session) -> Vec<u8> {
    let mut state = Vec::new();
    session.save(&mut state).unwrap();
    state
}

fn bits(session: &Session) -> Vec<u32> {
    session.logits().unwrap().iter().map(|x| x.to_bits()).collect()
}

#[test]
fn a_restored_session_goes_on_with_the_same_bits() {
    let model = Model::open(golden("gqa.gguf")).unwrap();
    let ids = ids("gqa");
    let mixed = CacheTypes { keys: CacheType::F16, values: CacheType::Q8_0 };
    for cache in [CacheType::F32.into(), CacheType::F16.into(), CacheType::Q8_0.into(), mixed] {
        for len in [0, 1, 31, 32, 35] {
            let mut first = model.session(&options(64, cache)).unwrap();
            first.feed(&ids[..len]).unwrap();
            let state = saved(&first);
            // Another length, other kernels, another number of threads; and it has held something else.
            let isa = Some("scalar".parse::<Isa>().unwrap());
            let other = options(50, cache).isa(isa).threads(1);
            let mut second = model.session(&other).unwrap();
            second.feed(&ids[3..20]).unwrap();
            // From memory, or a piece at a time.
            match len % 2 {
                0 => second.restore(&state).unwrap(),
                _ => second.restore_from(&mut Cursor::new(&state)).unwrap(),
            }
            assert_eq!(second.tokens(), &ids[..len]);
            assert_eq!(second.logits().is_ok(), len > 0);
            if len > 0 {
                assert!(bits(&second) == bits(&first), "{cache} {len}");
            }
            assert!(saved(&second) == state, "{cache} {len}");
            for session in [&mut first, &mut second] {
                session.feed(&ids[len..len + 5]).unwrap();
            }
            assert!(bits(&second) == bits(&first), "{cache} {len}");
        }
    }
}

#[test]
fn foreign_states_are_refused_and_the_session_stays_as_it_was() {
    let model = Model::open(golden("gqa.gguf")).unwrap();
    let ids = ids("gqa");
    let f16 = CacheTypes::from(CacheType::F16);
    let state = |model: &Model, cache, tokens: &[u32]| {
        let mut session = model.session(&options(64, cache)).unwrap();
        session.feed(tokens).unwrap();
        saved(&session)
    };
    let mut session = model.session(&options(32, f16)).unwrap();
    session.feed(&ids[..20]).unwrap();
    let before = bits(&session);
    let mut check = |state: &[u8], expected: StateError| {
        assert_eq!(session.restore(state), Err(expected));
        assert_eq!(session.tokens(), &ids[..20]);
        assert!(bits(&session) == before);
    };

    check(b"", StateError::Foreign);
    check(&std::fs::read(golden("gqa.gguf")).unwrap(), StateError::Foreign);
    let q8_0 = CacheTypes::from(CacheType::Q8_0);
    check(&state(&model, q8_0, &ids[..9]), StateError::OtherCache { expected: f16, found: q8_0 });
    check(&state(&model, f16, &ids[..40]), StateError::TooLong { tokens: 40, context: 32 });
    let others = [
        Model::from_gguf(&Parts::of("gqa").quantized(TensorType::Q8_0).gguf()).unwrap(),
        Model::from_gguf(&Parts::of("gqa").key("llama.rope.freq_base", Some(5000f32.into())).gguf()).unwrap(),
        Model::open(golden("bias.gguf")).unwrap(),
    ];
    for other in others {
        check(&state(&other, f16, &ids[..9]), StateError::OtherModel);
    }
    let mut newer = state(&model, f16, &ids[..9]);
    newer[8] = 9;
    check(&newer, StateError::Version(9));
}

#[test]
fn equal_sessions_are_saved_as_equal_bytes_whatever_they_held_before() {
    for name in ["gemma3", "lfm2", "phi3"] {
        let parts = Parts::read(&family(&format!("{name}.gguf")));
        let key = parts.keys.iter().find(|(key, _)| key.ends_with(".context_length")).unwrap().0.clone();
        let model = Model::from_gguf(&parts.key(&key, Some(1024u32.into())).gguf()).unwrap();
        for cache in [CacheType::F32, CacheType::F16, CacheType::Q8_0] {
            let text: Vec<u32> = ids_in(&family(name)).into_iter().cycle().take(700).collect();
            let (kept, more) = (&text[..590], &text[590..]);
            let mut fresh = model.session(&options(720, cache.into())).unwrap();
            fresh.feed(kept).unwrap();
            // Tokens that were there and are forgotten, right behind the last one, are in no byte of the file.
            let mut used = model.session(&options(720, cache.into())).unwrap();
            used.feed(&kept[..589]).unwrap();
            used.feed(more).unwrap();
            used.truncate(589);
            used.feed(&kept[589..]).unwrap();
            assert!(saved(&used) == saved(&fresh), "{name} {cache:?}");
        }
    }
}

#[test]
fn a_state_is_of_a_model_however_that_was_loaded() {
    let model = Model::open(golden("gqa.gguf")).unwrap();
    let again = Model::from_gguf(&Parts::of("gqa").gguf()).unwrap();
    assert_eq!(again.fingerprint(), model.fingerprint());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_states_are_refused(place in 0.0f64..1.0, bit in 0u32..8, cut in any::<bool>()) {
        thread_local! {
            static MODEL: Model = Model::open(golden("gqa.gguf")).unwrap();
        }
        MODEL.with(|model| {
            let mut session = model.session(&options(32, CacheType::F16.into())).unwrap();
            session.feed(&ids("gqa")[..20]).unwrap();
            let mut state = saved(&session);
            let at = (state.len() as f64 * place) as usize;
            match cut {
                true => state.truncate(at),
                false => state[at] ^= 1 << bit,
            }
            let before = bits(&session);
            prop_assert!(session.restore(&state).is_err());
            prop_assert!(bits(&session) == before);
            Ok(())
        })?;
    }
}
