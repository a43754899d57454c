//! The saved state of a session: it is refused, and the session is as before, or it is taken up, and its copy is the same.

use super::{golden, options};
use siskin::gguf::Gguf;
use siskin::{CacheType, CacheTypes, Model, Session, SessionOptions};
use std::cell::RefCell;
use std::sync::LazyLock;
use twox_hash::XxHash3_128;

/// Layers that look at all, layers with a window, convolutions.
static MODELS: LazyLock<Vec<Model>> = LazyLock::new(|| {
    ["qwen3", "gemma3-scale", "lfm2"]
        .map(|name| {
            let file = Gguf::from_bytes(name, golden(&format!("families/{name}.gguf"))).expect("a golden");
            Model::from_gguf(&file).expect("a golden")
        })
        .into()
});

thread_local! {
    /// Two sessions of each model and type of cache: making them takes longer than all else.
    static SESSIONS: RefCell<Vec<[Session; 2]>> = RefCell::new(
        MODELS.iter().flat_map(|model| settings(model).map(|options| [(); 2].map(|()| model.session(&options).expect("a golden")))).collect(),
    );
}

fn settings(model: &Model) -> [SessionOptions; 2] {
    let mixed = CacheTypes { keys: CacheType::Q8_0, values: CacheType::F16 };
    let whole = CacheTypes { keys: CacheType::F32, values: CacheType::F32 };
    [mixed, whole].map(|cache| options(model).cache(cache))
}

/// States of each session, with few tokens and with many.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    SESSIONS.with_borrow_mut(|sessions| {
        for (number, [session, _]) in sessions.iter_mut().enumerate() {
            for count in [1, 40] {
                session.clear();
                session
                    .feed(&(0..count).map(|token| token % 50).collect::<Vec<_>>())
                    .expect("tokens that there are");
                seeds.push([&[number as u8], saved(session).as_slice()].concat());
            }
        }
    });
    seeds
}

fn saved(session: &Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    session.save(&mut bytes).expect("memory takes it");
    bytes
}

/// The first byte says which session; the checksum is put right, or nothing else would ever be looked at.
pub fn run(data: &[u8]) {
    let Some((&first, state)) = data.split_first() else { return };
    let mut state = state.to_vec();
    if let Some((body, checksum)) = state.split_last_chunk_mut::<16>() {
        *checksum = XxHash3_128::oneshot(body).to_le_bytes();
    }
    SESSIONS.with_borrow_mut(|sessions| {
        let number = usize::from(first) % sessions.len();
        let [session, other] = &mut sessions[number];
        session.clear();
        session.feed(&[1, 2, 3]).expect("tokens that there are");
        let before = saved(session);
        if session.restore(&state).is_err() {
            assert!(saved(session) == before, "a state that is refused leaves the session as it was");
            return;
        }
        let copy = saved(session);
        other.restore(&copy).expect("what a session saves, another takes up");
        assert!(saved(other) == copy, "the same state, the same bytes");
        // Numbers of a stranger's may be too large to go on with; that is an error, and no more.
        let went_on = [session, other].map(|session| session.feed(&[1]).is_ok().then(|| saved(session)));
        assert!(went_on[0] == went_on[1], "equal sessions go on equally");
    });
}
