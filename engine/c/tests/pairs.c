/* Checks what must hold where two features of libsiskin meet: pairs FOLDER DEMO.gguf DEMO-ADAPTER.gguf FAMILY.gguf[=ADAPTER.gguf]...
 *
 * Everything is compared to the bit: logits, embeddings, tokens and texts. FOLDER is for files that are written; each model is
 * asked for all properties that it has the features for. A FAMILY with the demo's own weights is its packed file. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <siskin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONTEXT = 96, TOKENS = 512, REQUESTS = 8, TEXT = 8192, WIDTH = 1024 };

static size_t checks, failures;
static const char *at_work = "";

#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)
#define OK(call) is_status((call), SISKIN_OK, #call, __FILE__, __LINE__)
#define FAILS(status, call) is_status((call), (status), #call, __FILE__, __LINE__)

static bool check(bool holds, const char *what, const char *file, int line) {
    checks++;
    if (holds) return true;
    failures++;
    fprintf(stderr, "%s:%d: %s: not so: %s (last error: %s)\n", file, line, at_work, what, siskin_error_message());
    return false;
}

static bool is_status(siskin_status got, siskin_status expected, const char *what, const char *file, int line) {
    checks++;
    if (got == expected) return true;
    failures++;
    fprintf(stderr, "%s:%d: %s: status %d, not %d: %s (%s)\n", file, line, at_work, (int)got, (int)expected, what,
            siskin_error_message());
    return false;
}

/* ---- What is tested, and how it is asked ---- */

typedef struct subject {
    const char *folder, *path;
    const char *adapter_path; /* NULL: it has none */
    siskin_model *model;
    siskin_adapter *adapter, *again; /* `again` is the same file, opened anew */
    bool chats;                      /* it has a chat template */
} subject;

typedef struct tokens {
    uint32_t at[TOKENS];
    size_t count;
} tokens;

typedef struct bytes {
    unsigned char *at;
    size_t length, room;
} bytes;

/* One answer or embedding, of a session alone or among others of a batch. */
typedef struct request {
    const char *text;
    bool embeds, chats;
    const siskin_adapter *adapter;
    float scale;
    const char *grammar_kind, *grammar, *tools, *sampling;
    uint32_t tool_choice;
    size_t max_tokens;
} request;

typedef struct outcome {
    uint64_t number;
    bool over;
    siskin_ending ending;
    size_t tokens, reused, length, width;
    uint32_t kind;
    char text[TEXT]; /* A byte for each change of kind among it. */
    float embedding[WIDTH];
} outcome;

typedef struct outcomes {
    outcome of[REQUESTS];
    size_t count;
    siskin_batch *batch;
    int cancel_every; /* 0, or cancel the batch at each event of this number */
    int events;
} outcomes;

static siskin_session_options small(void) {
    return (siskin_session_options){.size = sizeof(siskin_session_options), .context = CONTEXT, .threads = 2, .batch = 16};
}

static siskin_session *session_of(const siskin_model *model, siskin_session_options options) {
    siskin_session *session = NULL;
    OK(siskin_session_new(model, &options, &session));
    return session;
}

/* A session with `adapter` attached, if there is one. */
static siskin_session *adapted(const siskin_model *model, siskin_session_options options, const siskin_adapter *adapter, float scale) {
    siskin_session *session = session_of(model, options);
    if (adapter != NULL) OK(siskin_session_attach(session, adapter, scale));
    return session;
}

/* `count` tokens that come again after `period`, none of them an end. */
static tokens prompt(const siskin_model *model, uint32_t seed, size_t count, size_t period) {
    tokens made = {.count = count};
    uint32_t vocabulary = (uint32_t)siskin_model_vocabulary(model);
    for (size_t i = 0; i < count; i++) {
        do {
            seed = seed * 1664525u + 1013904223u;
            made.at[i] = i < period ? 4 + (seed >> 8) % (vocabulary - 4) : made.at[i - period];
        } while (i < period && siskin_model_is_end(model, made.at[i]));
    }
    return made;
}

static void feed(siskin_session *session, const tokens *from, size_t begin, size_t end) {
    OK(siskin_session_feed(session, from->at + begin, end - begin));
}

static tokens held(siskin_session *session) {
    tokens list = {.count = TOKENS};
    if (!OK(siskin_session_tokens(session, list.at, &list.count))) list.count = 0;
    return list;
}

/* One list is how the other begins. */
static bool agree(const tokens *a, const tokens *b) {
    size_t count = a->count < b->count ? a->count : b->count;
    return memcmp(a->at, b->at, count * sizeof *a->at) == 0;
}

static bool same_logits(const siskin_model *model, siskin_session *one, siskin_session *other) {
    const float *a = NULL, *b = NULL;
    if (!OK(siskin_session_logits(one, &a)) || !OK(siskin_session_logits(other, &b))) return false;
    return memcmp(a, b, siskin_model_vocabulary(model) * sizeof *a) == 0;
}

/* Whether the sessions hold the same tokens and have the same logits. */
static bool same_session(const siskin_model *model, siskin_session *one, siskin_session *other) {
    tokens a = held(one), b = held(other);
    return a.count == b.count && memcmp(a.at, b.at, a.count * sizeof *a.at) == 0 && same_logits(model, one, other);
}

static int gather(void *data, const void *piece, size_t length) {
    bytes *all = data;
    while (all->length + length > all->room) {
        all->room = all->room ? 2 * all->room : 65536;
        all->at = realloc(all->at, all->room);
        if (all->at == NULL) abort();
    }
    memcpy(all->at + all->length, piece, length);
    all->length += length;
    return 0;
}

static bytes saved(siskin_session *session) {
    bytes state = {NULL, 0, 0};
    OK(siskin_session_save_to(session, gather, &state));
    return state;
}

static bytes contents(const char *path) {
    bytes all = {NULL, 0, 0};
    char piece[65536];
    FILE *file = fopen(path, "rb");
    if (!CHECK(file != NULL)) return all;
    for (size_t n; (n = fread(piece, 1, sizeof piece, file)) > 0;) gather(&all, piece, n);
    fclose(file);
    return all;
}

static void append(outcome *to, const siskin_piece *piece) {
    if (to->length + piece->length + 1 >= TEXT) return;
    if (piece->kind != to->kind) to->text[to->length++] = (char)(1 + piece->kind);
    to->kind = piece->kind;
    memcpy(to->text + to->length, piece->text, piece->length);
    to->length += piece->length;
}

static bool same_outcome(const outcome *a, const outcome *b) {
    return a->ending == b->ending && a->tokens == b->tokens && a->length == b->length && a->width == b->width &&
           memcmp(a->text, b->text, a->length) == 0 && memcmp(a->embedding, b->embedding, a->width * sizeof *a->embedding) == 0;
}

static siskin_answer_options options_of(const request *asked, bool in_batch) {
    siskin_answer_options options = {.size = sizeof options,
                                     .sampling = asked->sampling ? asked->sampling : "{\"temperature\": 0}",
                                     .max_tokens = asked->max_tokens ? asked->max_tokens : 24,
                                     .grammar_kind = asked->grammar_kind,
                                     .grammar = asked->grammar,
                                     .tools = asked->tools,
                                     .tool_choice = asked->tool_choice,
                                     .show_special = 1};
    if (in_batch && asked->adapter != NULL) {
        options.adapters = &asked->adapter;
        options.adapter_scales = &asked->scale;
        options.adapter_count = 1;
    }
    return options;
}

/* The pieces that are left of an answer, `most` at most. */
static void read_on(siskin_answer *answer, outcome *to, size_t most) {
    siskin_piece piece;
    while (most-- > 0) {
        if (!OK(siskin_answer_next(answer, &piece)) || piece.text == NULL) break;
        append(to, &piece);
    }
    to->ending = siskin_answer_ending(answer);
    to->tokens = siskin_answer_token_count(answer);
    to->reused = siskin_answer_reused_count(answer);
}

/* The outcome of a request that a session of its own answers. */
static outcome alone(const siskin_model *model, siskin_session_options options, const request *asked) {
    outcome came = {0};
    siskin_session *session = adapted(model, options, asked->adapter, asked->scale);
    siskin_answer *answer = NULL;
    siskin_answer_options how = options_of(asked, false);
    siskin_message message = {"user", asked->text, NULL};
    OK(siskin_answer_new(session, &how, &answer));
    if (asked->chats) OK(siskin_answer_ask(answer, &message, 1));
    else OK(siskin_answer_ask_text(answer, asked->text));
    read_on(answer, &came, SIZE_MAX);
    siskin_answer_free(answer);
    siskin_session_free(session);
    return came;
}

static siskin_batch *batch_of(const siskin_model *model, siskin_session_options session, size_t sequences, size_t idle, size_t pages) {
    siskin_batch *batch = NULL;
    siskin_batch_options options = {sizeof options, sequences, idle, pages, &session};
    OK(siskin_batch_new(model, &options, &batch));
    return batch;
}

static void tell(void *data, const siskin_event *event) {
    outcomes *all = data;
    outcome *to = NULL;
    size_t unfinished;
    for (size_t i = 0; i < all->count; i++)
        if (all->of[i].number == event->answer) to = &all->of[i];
    if (!CHECK(to != NULL && !to->over)) return;
    if (all->events == 0) FAILS(SISKIN_BUSY, siskin_batch_step(all->batch, NULL, NULL, &unfinished));
    if (all->cancel_every != 0 && all->events % all->cancel_every == 0) siskin_batch_cancel(all->batch);
    all->events++;
    if (event->kind == SISKIN_EVENT_READ) to->reused = event->reused;
    if (event->kind == SISKIN_EVENT_PIECE) append(to, &event->piece);
    if (event->kind == SISKIN_EVENT_EMBEDDING && CHECK(event->width <= WIDTH)) {
        memcpy(to->embedding, event->embedding, event->width * sizeof(float));
        to->width = event->width;
        to->over = true;
    }
    if (event->kind == SISKIN_EVENT_OVER) {
        to->ending = (siskin_ending)event->ending;
        to->tokens = event->tokens;
        to->over = true;
        if (event->message != NULL) fprintf(stderr, "%s: an answer failed: %s\n", at_work, event->message);
    }
}

static void request_in(siskin_batch *batch, const request *asked, outcomes *all) {
    outcome *to = &all->of[all->count++];
    siskin_answer_options how = options_of(asked, true);
    siskin_message message = {"user", asked->text, NULL};
    if (asked->embeds) OK(siskin_batch_embed(batch, asked->text, &to->number));
    else if (asked->chats) OK(siskin_batch_ask(batch, &message, 1, &how, &to->number));
    else OK(siskin_batch_ask_text(batch, asked->text, &how, &to->number));
}

static void step_to_end(siskin_batch *batch, outcomes *all) {
    size_t unfinished = 1;
    while (unfinished > 0) {
        siskin_status status = siskin_batch_step(batch, tell, all, &unfinished);
        if (status != SISKIN_CANCELLED && !OK(status)) return;
        if (status == SISKIN_CANCELLED) CHECK(all->cancel_every != 0);
    }
    for (size_t i = 0; i < all->count; i++) CHECK(all->of[i].over);
}

/* What comes of requests that a batch works on together. */
static outcomes *together(siskin_batch *batch, const request *asked, size_t count, int cancel_every) {
    outcomes *all = calloc(1, sizeof *all);
    if (all == NULL) abort();
    all->batch = batch;
    all->cancel_every = cancel_every;
    for (size_t i = 0; i < count; i++) request_in(batch, &asked[i], all);
    step_to_end(batch, all);
    return all;
}

/* What the batch tells of each request is what it would be alone: in a session, or for an embedding in a batch of its own. */
static void check_each(const siskin_model *model, siskin_session_options options, const request *asked, const outcomes *all) {
    for (size_t i = 0; i < all->count; i++) {
        if (!asked[i].embeds) {
            outcome single = alone(model, options, &asked[i]);
            if (!CHECK(same_outcome(&single, &all->of[i])))
                fprintf(stderr, "  request %zu: ending %d/%d, tokens %zu/%zu\n  alone: %.*s\n  batch: %.*s\n", i, (int)single.ending,
                        (int)all->of[i].ending, single.tokens, all->of[i].tokens, (int)single.length, single.text,
                        (int)all->of[i].length, all->of[i].text);
        } else {
            siskin_batch *batch = batch_of(model, options, 1, 0, 0);
            outcomes *single = together(batch, &asked[i], 1, 0);
            CHECK(single->of[0].width > 0 && same_outcome(&single->of[0], &all->of[i]));
            free(single);
            siskin_batch_free(batch);
        }
    }
}

/* ---- Saved states ---- */

/* States x caches, threads, batches of tokens and kernels: a restored session has the logits, and goes on with those, of one that was never
 * saved. */
static void state_and_cache(const subject *of, const siskin_adapter *adapter, uint32_t keys, uint32_t values) {
    tokens fed = prompt(of->model, 1, 80, 80);
    siskin_session_options options = small(), other = small();
    options.cache_keys = other.cache_keys = keys;
    options.cache_values = other.cache_values = values;
    other.threads = 1, other.batch = 7, other.isa = keys == values ? "scalar" : NULL;
    siskin_session *first = adapted(of->model, options, adapter, 0.5f), *second = adapted(of->model, other, adapter, 0.5f);
    feed(first, &fed, 0, 50);
    bytes state = saved(first);
    feed(second, &fed, 60, 70);
    OK(siskin_session_restore_from(second, state.at, state.length));
    CHECK(same_session(of->model, first, second));
    feed(first, &fed, 50, 80);
    for (size_t i = 50; i < 80; i += 3) feed(second, &fed, i, i + 3);
    CHECK(same_session(of->model, first, second));
    siskin_session_free(first);
    siskin_session_free(second);
    free(state.at);
}

/* States x another cache: refused, and the session is as it was. */
static void state_of_another_cache(const subject *of) {
    tokens fed = prompt(of->model, 2, 30, 30);
    siskin_session_options options = small(), other = small();
    other.cache_values = SISKIN_CACHE_Q8_0;
    siskin_session *first = session_of(of->model, options), *second = session_of(of->model, other), *third = session_of(of->model, other);
    feed(first, &fed, 0, 30);
    feed(second, &fed, 0, 20);
    feed(third, &fed, 0, 20);
    bytes state = saved(first);
    FAILS(SISKIN_STATE, siskin_session_restore_from(second, state.at, state.length));
    CHECK(same_session(of->model, second, third));
    feed(second, &fed, 20, 30);
    feed(third, &fed, 20, 30);
    CHECK(same_session(of->model, second, third));
    siskin_session_free(first);
    siskin_session_free(second);
    siskin_session_free(third);
    free(state.at);
}

/* States x damage: a state with a bit flipped or an end cut off is refused, and the session is as it was. */
static void state_and_damage(const subject *of) {
    tokens fed = prompt(of->model, 3, 30, 30);
    siskin_session *first = session_of(of->model, small()), *second = session_of(of->model, small());
    feed(first, &fed, 0, 30);
    feed(second, &fed, 0, 30);
    bytes state = saved(first);
    for (size_t i = 0; i < 40 && state.length > 0; i++) {
        size_t at = i < 20 ? i * 3 % state.length : state.length * (i - 20) / 20;
        state.at[at] ^= 16;
        FAILS(SISKIN_STATE, siskin_session_restore_from(second, state.at, state.length));
        state.at[at] ^= 16;
        FAILS(SISKIN_STATE, siskin_session_restore_from(second, state.at, at));
    }
    CHECK(same_session(of->model, first, second));
    siskin_session_free(first);
    siskin_session_free(second);
    free(state.at);
}

/* Truncation x states, for windows and convolutions too: what is left goes on as if there had never been more, before and after a
 * save in between. */
static void truncate_and_state(const subject *of, const siskin_adapter *adapter, size_t left) {
    tokens fed = prompt(of->model, 4, 80, 80);
    siskin_session *first = adapted(of->model, small(), adapter, 1), *second = adapted(of->model, small(), adapter, 1);
    siskin_session *plain = adapted(of->model, small(), adapter, 1);
    const float *logits = NULL;
    feed(first, &fed, 0, 60);
    OK(siskin_session_truncate(first, left));
    CHECK(siskin_session_position(first) == left);
    if (left < 60) CHECK(siskin_session_logits(first, &logits) != SISKIN_OK);
    bytes state = saved(first);
    OK(siskin_session_restore_from(second, state.at, state.length));
    CHECK(siskin_session_position(second) == left);
    feed(plain, &fed, 0, left);
    feed(plain, &fed, 61, 75);
    feed(first, &fed, 61, 75);
    feed(second, &fed, 61, 75);
    CHECK(same_session(of->model, plain, first));
    CHECK(same_session(of->model, plain, second));
    siskin_session_free(first);
    siskin_session_free(second);
    siskin_session_free(plain);
    free(state.at);
}

/* Adapters x states: a state of an adapted session is restored with the same adapter and scale, which may have been opened anew;
 * without it, and with another scale, it is refused or has the bits of the session that was saved. */
static void state_and_adapter(const subject *of) {
    tokens fed = prompt(of->model, 5, 60, 60);
    siskin_session *first = adapted(of->model, small(), of->adapter, 0.5f), *other;
    const struct { const siskin_adapter *adapter; float scale; bool same; } with[] = {
        {of->again, 0.5f, true}, {of->adapter, 0.25f, false}, {NULL, 0, false}, {of->adapter, 0, false}};
    feed(first, &fed, 0, 40);
    bytes state = saved(first);
    for (size_t i = 0; i < sizeof with / sizeof *with; i++) {
        other = adapted(of->model, small(), with[i].adapter, with[i].scale);
        siskin_session *before = adapted(of->model, small(), with[i].adapter, with[i].scale);
        feed(other, &fed, 5, 30);
        feed(before, &fed, 5, 30);
        if (with[i].same) {
            OK(siskin_session_restore_from(other, state.at, state.length));
            CHECK(same_session(of->model, first, other));
        } else {
            FAILS(SISKIN_STATE, siskin_session_restore_from(other, state.at, state.length));
            CHECK(same_session(of->model, before, other));
            feed(other, &fed, 30, 40);
            feed(before, &fed, 30, 40);
            CHECK(same_session(of->model, before, other));
        }
        siskin_session_free(other);
        siskin_session_free(before);
    }
    /* The other way: a state without an adapter, in a session with one. */
    free(state.at);
    OK(siskin_session_detach(first, of->adapter));
    feed(first, &fed, 0, 40);
    state = saved(first);
    other = adapted(of->model, small(), of->adapter, 1);
    FAILS(SISKIN_STATE, siskin_session_restore_from(other, state.at, state.length));
    OK(siskin_session_detach(other, of->adapter));
    OK(siskin_session_restore_from(other, state.at, state.length));
    CHECK(same_session(of->model, first, other));
    siskin_session_free(first);
    siskin_session_free(other);
    free(state.at);
}

/* Two adapters x scales x states: adapters attached in the same order are restored; one that is attached again gets the scale, and
 * one taken off leaves the model's own bits. */
static void adapters_on_adapters(const subject *of) {
    tokens fed = prompt(of->model, 6, 40, 40);
    siskin_session *both = adapted(of->model, small(), of->adapter, 0.25f), *other = adapted(of->model, small(), of->adapter, 9);
    siskin_session *plain = session_of(of->model, small()), *one = adapted(of->model, small(), of->adapter, 0.25f);
    OK(siskin_session_attach(both, of->again, 0.5f));
    OK(siskin_session_attach(other, of->again, 0.5f));
    OK(siskin_session_attach(other, of->adapter, 0.25f));
    feed(both, &fed, 0, 40);
    feed(other, &fed, 0, 40);
    CHECK(same_session(of->model, both, other));
    bytes state = saved(both);
    OK(siskin_session_truncate(other, 0));
    OK(siskin_session_restore_from(other, state.at, state.length));
    CHECK(same_session(of->model, both, other));
    feed(one, &fed, 0, 40);
    FAILS(SISKIN_STATE, siskin_session_restore_from(one, state.at, state.length));
    OK(siskin_session_detach(both, of->again));
    CHECK(siskin_session_position(both) == 0);
    feed(both, &fed, 0, 40);
    CHECK(same_session(of->model, both, one));
    OK(siskin_session_detach(both, of->adapter));
    OK(siskin_session_detach(both, of->adapter));
    feed(both, &fed, 0, 40);
    feed(plain, &fed, 0, 40);
    CHECK(same_session(of->model, both, plain));
    siskin_session_free(both);
    siskin_session_free(other);
    siskin_session_free(one);
    siskin_session_free(plain);
    free(state.at);
}

/* Files x memory: a state has the same bytes either way, and a save that is ended leaves the file that was there. */
static int refuse(void *data, const void *piece, size_t length) {
    (void)piece, (void)length;
    return ++*(int *)data > 1;
}

static void state_in_file(const subject *of) {
    char path[4096];
    int calls = 0;
    tokens fed = prompt(of->model, 7, 40, 40);
    siskin_session *first = session_of(of->model, small()), *second = session_of(of->model, small());
    snprintf(path, sizeof path, "%s/pairs.state", of->folder);
    feed(first, &fed, 0, 40);
    OK(siskin_session_save(first, path));
    bytes state = saved(first), file = contents(path);
    CHECK(state.length == file.length && memcmp(state.at, file.at, file.length) == 0);
    FAILS(SISKIN_FILE, siskin_session_save_to(first, refuse, &calls));
    OK(siskin_session_restore(second, path));
    CHECK(same_session(of->model, first, second));
    free(state.at);
    free(file.at);
    remove(path);
    siskin_session_free(first);
    siskin_session_free(second);
}

/* ---- A full context ---- */

/* A window of a full context x states x adapters: a session that has forgotten is saved and restored, and goes on as the one that
 * was not disturbed. */
static void window_and_state(const subject *of, const siskin_adapter *adapter, uint32_t when_full) {
    tokens fed = prompt(of->model, 8, 300, 300);
    siskin_session_options options = small();
    options.context = 64, options.when_full = when_full, options.keep = 4;
    siskin_session *first = adapted(of->model, options, adapter, 1), *second = adapted(of->model, options, adapter, 1);
    for (size_t i = 0; i < 150; i += 10) feed(first, &fed, i, i + 10);
    CHECK(siskin_session_position(first) <= 64);
    bytes state = saved(first);
    OK(siskin_session_restore_from(second, state.at, state.length));
    CHECK(same_session(of->model, first, second));
    for (size_t i = 150; i < 300; i += 10) {
        feed(first, &fed, i, i + 10);
        feed(second, &fed, i, i + 10);
    }
    CHECK(same_session(of->model, first, second));
    tokens left = held(first);
    CHECK(memcmp(left.at, fed.at, 4 * sizeof *fed.at) == 0);
    CHECK(memcmp(left.at + 4, fed.at + 304 - left.count, (left.count - 4) * sizeof *fed.at) == 0);
    siskin_session_free(first);
    siskin_session_free(second);
    free(state.at);
}

/* A window x truncation: what is left after forgetting may be truncated, and a session goes on. Truncating all makes it new. */
static void window_and_truncation(const subject *of, uint32_t when_full) {
    tokens fed = prompt(of->model, 9, 200, 200);
    siskin_session_options options = small();
    options.context = 64, options.when_full = when_full, options.keep = 4;
    siskin_session *first = session_of(of->model, options), *second = session_of(of->model, options), *plain = session_of(of->model, options);
    for (size_t i = 0; i < 150; i += 10) feed(first, &fed, i, i + 10);
    bytes state = saved(first);
    OK(siskin_session_restore_from(second, state.at, state.length));
    siskin_status one = siskin_session_truncate(first, 20), two = siskin_session_truncate(second, 20);
    CHECK(one == SISKIN_OK && two == SISKIN_OK);
    feed(first, &fed, 150, 160);
    feed(second, &fed, 150, 160);
    CHECK(same_session(of->model, first, second));
    OK(siskin_session_truncate(first, 0));
    feed(first, &fed, 0, 50);
    feed(plain, &fed, 0, 50);
    CHECK(same_session(of->model, first, plain));
    siskin_session_free(first);
    siskin_session_free(second);
    siskin_session_free(plain);
    free(state.at);
}

/* A window x drafts x adapters: an answer that is longer than the context is the same with drafts and without. */
static void window_and_drafts(const subject *of, const siskin_adapter *adapter, uint32_t when_full, const char *sampling) {
    request asked = {.text = "the sin in the sin in the sin in the sin", .adapter = adapter, .scale = 1, .max_tokens = 150,
                     .sampling = sampling};
    siskin_session_options options = small();
    options.context = 64, options.when_full = when_full, options.keep = 4;
    outcome plain = alone(of->model, options, &asked);
    options.drafts = 6;
    outcome drafted = alone(of->model, options, &asked);
    if (!CHECK(same_outcome(&plain, &drafted)))
        fprintf(stderr, "  %zu tokens %d: %.*s\n  %zu tokens %d: %.*s\n", plain.tokens, (int)plain.ending, (int)plain.length, plain.text,
                drafted.tokens, (int)drafted.ending, (int)drafted.length, drafted.text);
}

/* States x what a session is made for: one that forgot goes to a session that would stop, which goes on until it is full; a state
 * that is longer than the context is refused, and the session is as it was. */
static void state_and_room(const subject *of, const siskin_adapter *adapter) {
    tokens fed = prompt(of->model, 18, 200, 200);
    siskin_session_options window = small(), stop = small(), little = small();
    window.context = stop.context = 64, window.when_full = SISKIN_WHEN_FULL_WINDOW, window.keep = 4, little.context = 20;
    siskin_session *first = adapted(of->model, window, adapter, 1), *second = adapted(of->model, stop, adapter, 1);
    siskin_session *third = adapted(of->model, little, adapter, 1), *same = adapted(of->model, little, adapter, 1);
    for (size_t i = 0; i < 100; i += 10) feed(first, &fed, i, i + 10);
    bytes state = saved(first);
    OK(siskin_session_restore_from(second, state.at, state.length));
    size_t room = siskin_session_context(first) - siskin_session_position(first);
    feed(first, &fed, 100, 100 + room);
    feed(second, &fed, 100, 100 + room);
    CHECK(same_session(of->model, first, second));
    FAILS(SISKIN_CONTEXT_FULL, siskin_session_feed(second, fed.at, 1));
    CHECK(same_session(of->model, first, second));
    feed(third, &fed, 0, 12);
    feed(same, &fed, 0, 12);
    siskin_status status = siskin_session_restore_from(third, state.at, state.length);
    CHECK(status == SISKIN_CONTEXT_FULL || status == SISKIN_STATE);
    CHECK(same_session(of->model, third, same));
    siskin_session_free(first);
    siskin_session_free(second);
    siskin_session_free(third);
    siskin_session_free(same);
    free(state.at);
}

/* Drafts x a window x states: an answer that is longer than the context is given up, and restored, and goes on with and without
 * drafts from where it stood. */
static void window_drafts_and_state(const subject *of, const siskin_adapter *adapter, uint32_t when_full) {
    tokens fed = prompt(of->model, 19, 40, 6);
    siskin_session_options plain = small(), drafting;
    plain.context = 64, plain.when_full = when_full, plain.keep = 4;
    drafting = plain;
    drafting.drafts = 7;
    siskin_session *first = adapted(of->model, plain, adapter, 1), *second = adapted(of->model, drafting, adapter, 1);
    siskin_answer_options options = {.size = sizeof options, .sampling = "{\"temperature\": 0}", .max_tokens = 90, .show_special = 1};
    outcome one = {0}, two = {0};
    siskin_answer *answer = NULL;
    OK(siskin_answer_new(first, &options, &answer));
    OK(siskin_answer_ask_tokens(answer, fed.at, fed.count));
    read_on(answer, &one, 50);
    siskin_answer_free(answer);
    bytes state = saved(first);
    OK(siskin_session_restore_from(second, state.at, state.length));
    CHECK(siskin_session_position(first) == siskin_session_position(second));
    tokens now = held(first);
    memset(&one, 0, sizeof one);
    answer = NULL;
    OK(siskin_answer_new(first, &options, &answer));
    OK(siskin_answer_ask_tokens(answer, now.at, now.count));
    read_on(answer, &one, SIZE_MAX);
    siskin_answer_free(answer);
    OK(siskin_answer_new(second, &options, &answer));
    OK(siskin_answer_ask_tokens(answer, now.at, now.count));
    read_on(answer, &two, SIZE_MAX);
    siskin_answer_free(answer);
    CHECK(same_outcome(&one, &two));
    now = held(first);
    tokens then = held(second);
    CHECK(now.count == then.count && agree(&now, &then));
    siskin_session_free(first);
    siskin_session_free(second);
    free(state.at);
}

/* ---- Answers that are disturbed ---- */

/* Asks for what `from` goes on with, likeliest tokens. */
static siskin_answer *ask_on(siskin_session *session, const tokens *from, size_t most) {
    siskin_answer *answer = NULL;
    siskin_answer_options options = {.size = sizeof options, .sampling = "{\"temperature\": 0}", .max_tokens = most, .show_special = 1};
    OK(siskin_answer_new(session, &options, &answer));
    OK(siskin_answer_ask_tokens(answer, from->at, from->count));
    return answer;
}

/* All tokens that an answer to `from` leaves in a session of these options. */
static tokens undisturbed(const subject *of, siskin_session_options options, const siskin_adapter *adapter, const tokens *from,
                          size_t most) {
    outcome came = {0};
    siskin_session *session = adapted(of->model, options, adapter, 1);
    siskin_answer *answer = ask_on(session, from, most);
    read_on(answer, &came, SIZE_MAX);
    siskin_answer_free(answer);
    tokens all = held(session);
    siskin_session_free(session);
    return all;
}

/* The session goes on from what it holds, and comes to `whole`. */
static void goes_on(siskin_session *session, const tokens *whole, size_t asked) {
    outcome came = {0};
    tokens now = held(session);
    CHECK(now.count >= asked && agree(&now, whole));
    siskin_answer *answer = ask_on(session, &now, whole->count > now.count ? whole->count - now.count + 1 : 1);
    read_on(answer, &came, SIZE_MAX);
    CHECK(siskin_answer_reused_count(answer) + 1 >= now.count);
    siskin_answer_free(answer);
    tokens then = held(session);
    CHECK(then.count >= whole->count && agree(&then, whole));
}

/* Drafts x states x adapters: amid an answer with drafts the session is saved; the answer goes on, and the restored session comes
 * to the same. A change of the session is refused meanwhile. */
static void drafts_and_state(const subject *of, const siskin_adapter *adapter, size_t drafts) {
    outcome came = {0};
    tokens from = prompt(of->model, 10, 30, 5);
    siskin_session_options options = small(), drafting = small();
    drafting.drafts = drafts;
    tokens whole = undisturbed(of, options, adapter, &from, 40);
    siskin_session *first = adapted(of->model, drafting, adapter, 1), *second = adapted(of->model, drafting, adapter, 1);
    siskin_answer *answer = ask_on(first, &from, 40);
    read_on(answer, &came, 8);
    bytes state = saved(first);
    if (siskin_answer_ending(answer) == SISKIN_ENDING_NONE) {
        FAILS(SISKIN_BUSY, siskin_session_feed(first, from.at, 1));
        FAILS(SISKIN_BUSY, siskin_session_truncate(first, 1));
        FAILS(SISKIN_BUSY, siskin_session_restore_from(first, state.at, state.length));
        if (adapter != NULL) FAILS(SISKIN_BUSY, siskin_session_attach(first, adapter, 2));
        if (adapter != NULL) FAILS(SISKIN_BUSY, siskin_session_detach(first, adapter));
    }
    read_on(answer, &came, SIZE_MAX);
    siskin_answer_free(answer);
    tokens then = held(first);
    CHECK(then.count == whole.count && agree(&then, &whole));
    OK(siskin_session_restore_from(second, state.at, state.length));
    goes_on(second, &whole, from.count);
    siskin_session_free(first);
    siskin_session_free(second);
    free(state.at);
}

/* Drafts x truncation x adapters: an answer is given up, the session is truncated into the answer or the prompt, and comes to the
 * same answer again. */
static void drafts_and_truncation(const subject *of, const siskin_adapter *adapter, size_t left) {
    outcome came = {0};
    tokens from = prompt(of->model, 11, 30, 6);
    siskin_session_options drafting = small();
    tokens whole = undisturbed(of, drafting, adapter, &from, 40);
    drafting.drafts = 5;
    siskin_session *session = adapted(of->model, drafting, adapter, 1);
    siskin_answer *answer = ask_on(session, &from, 40);
    read_on(answer, &came, 12);
    siskin_answer_free(answer);
    if (siskin_session_position(session) > left) OK(siskin_session_truncate(session, left));
    tokens now = held(session);
    CHECK(agree(&now, &whole));
    answer = ask_on(session, now.count > from.count ? &now : &from, 40);
    read_on(answer, &came, SIZE_MAX);
    siskin_answer_free(answer);
    tokens then = held(session);
    CHECK(agree(&then, &whole));
    siskin_session_free(session);
}

/* Cancelling x going on x saving: an answer ends as cancelled, and the session, as well as one that is restored of it, comes to
 * what the answer would have been. */
static void cancel_and_state(const subject *of, const siskin_adapter *adapter, size_t pieces, size_t drafts) {
    outcome came = {0};
    tokens from = prompt(of->model, 12, 30, 7);
    siskin_session_options options = small();
    options.drafts = drafts;
    tokens whole = undisturbed(of, options, adapter, &from, 40);
    siskin_session *first = adapted(of->model, options, adapter, 1), *second = adapted(of->model, options, adapter, 1);
    siskin_answer *answer = ask_on(first, &from, 40);
    read_on(answer, &came, pieces);
    if (siskin_answer_ending(answer) == SISKIN_ENDING_NONE) {
        siskin_session_cancel(first);
        read_on(answer, &came, SIZE_MAX);
        CHECK(came.ending == SISKIN_ENDING_CANCELLED);
        siskin_answer_free(answer);
        bytes state = saved(first);
        OK(siskin_session_restore_from(second, state.at, state.length));
        free(state.at);
        if (siskin_session_position(first) >= from.count) {
            goes_on(first, &whole, from.count);
            goes_on(second, &whole, from.count);
        }
    } else {
        siskin_answer_free(answer);
    }
    siskin_session_free(first);
    siskin_session_free(second);
}

/* Cancelling x feeding: the call is told so once, and what the session holds then goes on as ever. */
static void *cancel_later(void *session) {
    siskin_session_cancel(session);
    return NULL;
}

static void cancel_and_feed(const subject *of) {
    tokens fed = prompt(of->model, 13, 80, 80);
    siskin_session *first = session_of(of->model, small()), *plain = session_of(of->model, small());
    pthread_t thread;
    feed(first, &fed, 0, 10);
    CHECK(pthread_create(&thread, NULL, cancel_later, first) == 0);
    pthread_join(thread, NULL);
    FAILS(SISKIN_CANCELLED, siskin_session_feed(first, fed.at + 10, 60));
    tokens now = held(first);
    CHECK(now.count >= 10 && agree(&now, &fed));
    feed(first, &fed, now.count, 80);
    feed(plain, &fed, 0, 80);
    CHECK(same_session(of->model, first, plain));
    siskin_session_free(first);
    siskin_session_free(plain);
}

/* Seeds and penalties x what is reused: the same request has the same answer again from the same session, from one that held the
 * half of it, and from a restored one; and with the seed that was drawn. */
static void sampling_and_reuse(const subject *of, const siskin_adapter *adapter, size_t drafts) {
    const char *ways[] = {"{\"temperature\": 0.8, \"seed\": 5}",
                          "{\"temperature\": 0.9, \"seed\": 6, \"repeat_penalty\": 1.3, \"penalty_last_n\": -1}",
                          "{\"temperature\": 0.9, \"seed\": 7, \"dry_multiplier\": 0.8, \"frequency_penalty\": 0.4}",
                          "{\"temperature\": 0.9, \"seed\": 8, \"mirostat\": 2}",
                          "{\"temperature\": 1, \"seed\": 9, \"xtc_probability\": 0.5, \"typ_p\": 0.9}", "{\"temperature\": 1.2}"};
    tokens from = prompt(of->model, 20, 30, 8);
    siskin_session_options options = small();
    options.drafts = drafts;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        outcome came[4] = {{0}};
        char seeded[64];
        siskin_answer_options how = {.size = sizeof how, .sampling = ways[i], .max_tokens = 40, .show_special = 1};
        siskin_session *session = adapted(of->model, options, adapter, 1);
        for (size_t round = 0; round < 4; round++) {
            siskin_answer *answer = NULL;
            if (round == 2) OK(siskin_session_truncate(session, 15));
            if (round == 3) {
                OK(siskin_session_truncate(session, 22));
                bytes state = saved(session);
                OK(siskin_session_restore_from(session, state.at, state.length));
                free(state.at);
            }
            OK(siskin_answer_new(session, &how, &answer));
            OK(siskin_answer_ask_tokens(answer, from.at, from.count));
            read_on(answer, &came[round], SIZE_MAX);
            came[round].reused = 0;
            snprintf(seeded, sizeof seeded, "{\"temperature\": 1.2, \"seed\": %llu}", (unsigned long long)siskin_answer_seed(answer));
            if (i + 1 == sizeof ways / sizeof *ways) how.sampling = seeded;
            siskin_answer_free(answer);
        }
        for (size_t round = 1; round < 4; round++) CHECK(same_outcome(&came[0], &came[round]));
        siskin_session_free(session);
    }
}

/* ---- Batches ---- */

static const char *const TEXTS[] = {"the sin in the sin", "in the", "s", "the sin in the sin in he the sin in he in"};
static const char SEEDED[] = "{\"temperature\": 0.9, \"top_k\": 20, \"seed\": 77}";
static const char SCHEMA[] = "{\"type\": \"object\", \"properties\": {\"n\": {\"type\": \"integer\", \"maximum\": 99, \"minimum\": 0}, "
                             "\"b\": {\"type\": \"boolean\"}}, \"required\": [\"n\", \"b\"], \"additionalProperties\": false}";

/* Batches x adapters x embeddings x cancelled steps: each answer, with whatever adapter, and each embedding, which is of the model
 * itself, is as it is alone. */
static void batch_and_adapters(const subject *of, int cancel_every, uint32_t cache) {
    siskin_session_options options = small();
    options.cache_keys = options.cache_values = cache;
    const request asked[] = {
        {.text = TEXTS[0]}, {.text = TEXTS[1], .embeds = true}, {.text = TEXTS[0], .adapter = of->adapter, .scale = 1},
        {.text = TEXTS[3], .embeds = true}, {.text = TEXTS[3], .adapter = of->again, .scale = 0.5f, .sampling = SEEDED},
        {.text = TEXTS[0], .embeds = true}, {.text = TEXTS[1], .sampling = SEEDED, .max_tokens = 50}};
    siskin_batch *batch = batch_of(of->model, options, 4, 0, 0);
    outcomes *all = together(batch, asked, sizeof asked / sizeof *asked, cancel_every);
    check_each(of->model, options, asked, all);
    free(all);
    siskin_batch_free(batch);
}

/* Sequences that are kept x adapters x embeddings: what was read with another adapter or scale is not reused. */
static void idle_and_adapters(const subject *of) {
    const request asked[] = {{.text = TEXTS[3]}, {.text = TEXTS[3], .adapter = of->adapter, .scale = 1},
                             {.text = TEXTS[3], .adapter = of->adapter, .scale = 0.5f}, {.text = TEXTS[3], .embeds = true},
                             {.text = TEXTS[3]}};
    siskin_batch *batch = batch_of(of->model, small(), 2, 3, 0);
    for (size_t round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
            outcomes *all = together(batch, &asked[i], 1, 0);
            check_each(of->model, small(), &asked[i], all);
            free(all);
        }
    siskin_batch_free(batch);
}

/* Stop strings and biases x batches x drafts x adapters: an answer ends before the text that it would have had. */
static void stops_and_batch(const subject *of) {
    static const char BIAS[] = "{\"temperature\": 0.7, \"seed\": 3, \"logit_bias\": [[9, 4], [12, 3.5], [40, -20]]}";
    request asked = {.text = TEXTS[0], .adapter = of->adapter, .scale = 1, .sampling = BIAS, .max_tokens = 50};
    siskin_session_options drafting = small();
    outcome whole = alone(of->model, small(), &asked);
    if (whole.length < 12 || memchr(whole.text, 0, 12) != NULL) return;
    char stop[4] = {whole.text[8], whole.text[9], whole.text[10], 0};
    if (((unsigned char)stop[0] & 0xc0) == 0x80 || ((unsigned char)stop[1] | (unsigned char)stop[2]) >= 0x80) return;
    const char *stops[] = {"no such text as this", stop};
    outcome came[2] = {{0}};
    for (size_t i = 0; i < 2; i++) {
        siskin_answer_options how = options_of(&asked, false);
        siskin_answer *answer = NULL;
        how.stop = stops, how.stop_count = 2;
        drafting.drafts = 5 * i;
        siskin_session *session = adapted(of->model, drafting, asked.adapter, 1);
        OK(siskin_answer_new(session, &how, &answer));
        OK(siskin_answer_ask_text(answer, asked.text));
        read_on(answer, &came[i], SIZE_MAX);
        siskin_answer_free(answer);
        siskin_session_free(session);
    }
    char *at = strstr(whole.text, stop);
    CHECK(came[0].ending == SISKIN_ENDING_COMPLETE && at != NULL && came[0].length == (size_t)(at - whole.text) &&
          memcmp(came[0].text, whole.text, came[0].length) == 0);
    CHECK(same_outcome(&came[0], &came[1]));
    siskin_answer_options how = options_of(&asked, true);
    how.stop = stops, how.stop_count = 2;
    siskin_batch *batch = batch_of(of->model, small(), 2, 0, 0);
    outcomes all = {.batch = batch, .count = 1};
    OK(siskin_batch_ask_text(batch, asked.text, &how, &all.of[0].number));
    request_in(batch, &(request){.text = TEXTS[0], .embeds = true}, &all);
    step_to_end(batch, &all);
    CHECK(same_outcome(&came[0], &all.of[0]));
    siskin_batch_free(batch);
}

/* Few pages x many answers: they wait, and have the bits that they have alone. */
static void pages_and_answers(const subject *of) {
    const request asked[] = {{.text = TEXTS[0]}, {.text = TEXTS[1], .max_tokens = 60}, {.text = TEXTS[2], .embeds = true},
                             {.text = TEXTS[3], .max_tokens = 40}, {.text = TEXTS[2], .sampling = SEEDED}};
    siskin_batch *batch = batch_of(of->model, small(), 4, 0, 1);
    outcomes *all = together(batch, asked, sizeof asked / sizeof *asked, 0);
    check_each(of->model, small(), asked, all);
    free(all);
    siskin_batch_free(batch);
}

/* Dropping x the others of a batch: an answer and a text are dropped amid, nothing more is told of them, and the others and what is
 * asked later are as alone. */
static void drop_and_others(const subject *of) {
    const request asked[] = {{.text = TEXTS[0]}, {.text = TEXTS[1], .max_tokens = 40, .adapter = of->adapter, .scale = 1},
                             {.text = TEXTS[3], .max_tokens = 40}, {.text = TEXTS[3], .embeds = true}, {.text = TEXTS[2]}};
    siskin_batch *batch = batch_of(of->model, small(), 2, 1, 0);
    outcomes *all = calloc(1, sizeof *all);
    size_t unfinished;
    if (all == NULL) abort();
    all->batch = batch;
    for (size_t i = 0; i < 4; i++) request_in(batch, &asked[i], all);
    for (size_t i = 0; i < 4; i++) OK(siskin_batch_step(batch, tell, all, &unfinished));
    for (size_t i = 0; i < 3; i += 2) {
        OK(siskin_batch_drop(batch, all->of[i].number));
        OK(siskin_batch_drop(batch, all->of[i].number));
        all->of[i].over = true;
    }
    request_in(batch, &asked[4], all);
    step_to_end(batch, all);
    outcomes kept = {.count = 3, .of = {all->of[1], all->of[3], all->of[4]}};
    const request left[] = {asked[1], asked[3], asked[4]};
    check_each(of->model, small(), left, &kept);
    free(all);
    siskin_batch_free(batch);
}

/* Grammars x adapters x batches x drafts: what keeps to a schema or an expression is the same alone, with drafts and together, and
 * an answer that is complete is what it has to be. */
static void grammar_and_adapters(const subject *of) {
    const request asked[] = {
        {.text = TEXTS[0], .grammar_kind = "json_schema", .grammar = SCHEMA, .max_tokens = 60},
        {.text = TEXTS[0], .grammar_kind = "json_schema", .grammar = SCHEMA, .max_tokens = 60, .adapter = of->adapter, .scale = 1},
        {.text = TEXTS[1], .grammar_kind = "regex", .grammar = "[a-z]{3,9} (yes|no)", .adapter = of->adapter, .scale = 0.5f},
        {.text = TEXTS[1], .embeds = true},
        {.text = TEXTS[1], .grammar_kind = "regex", .grammar = "[a-z]{3,9} (yes|no)", .sampling = SEEDED}};
    siskin_session_options options = small(), drafting = small();
    drafting.drafts = 4;
    siskin_batch *batch = batch_of(of->model, options, 4, 0, 0);
    outcomes *all = together(batch, asked, sizeof asked / sizeof *asked, 0);
    check_each(of->model, options, asked, all);
    for (size_t i = 0; i < all->count; i++) {
        if (asked[i].embeds) continue;
        outcome drafted = alone(of->model, drafting, &asked[i]);
        CHECK(same_outcome(&drafted, &all->of[i]));
        const char *text = all->of[i].text;
        if (all->of[i].ending == SISKIN_ENDING_COMPLETE && i < 2) CHECK(strstr(text, "\"n\"") != NULL && strstr(text, "\"b\"") != NULL);
        if (all->of[i].ending == SISKIN_ENDING_COMPLETE && i > 3) CHECK(strstr(text, " yes") != NULL || strstr(text, " no") != NULL);
    }
    free(all);
    siskin_batch_free(batch);
}

static const char TOOLS[] = "[{\"type\": \"function\", \"function\": {\"name\": \"light\", \"description\": \"A light.\", \"parameters\": "
                            "{\"type\": \"object\", \"properties\": {\"on\": {\"type\": \"boolean\"}}, \"required\": [\"on\"], "
                            "\"additionalProperties\": false}}}]";

/* Tools x adapters x batches x drafts: a call that has to come is the same alone and together. */
static void tools_and_adapters(const subject *of) {
    const request asked[] = {
        {.text = TEXTS[2], .chats = true, .tools = TOOLS, .tool_choice = SISKIN_TOOL_CHOICE_REQUIRED, .max_tokens = 60},
        {.text = TEXTS[2], .chats = true, .tools = TOOLS, .tool_choice = SISKIN_TOOL_CHOICE_REQUIRED, .max_tokens = 60,
         .adapter = of->adapter, .scale = 1},
        {.text = TEXTS[2], .embeds = true},
        {.text = TEXTS[2], .chats = true, .tools = TOOLS, .max_tokens = 20, .adapter = of->adapter, .scale = 1}};
    siskin_session_options options = small(), drafting;
    options.context = 512;
    drafting = options;
    drafting.drafts = 4;
    siskin_batch *batch = batch_of(of->model, options, 3, 0, 0);
    outcomes *all = together(batch, asked, sizeof asked / sizeof *asked, 0);
    check_each(of->model, options, asked, all);
    for (size_t i = 0; i < all->count; i++) {
        if (asked[i].embeds) continue;
        outcome drafted = alone(of->model, drafting, &asked[i]);
        CHECK(same_outcome(&drafted, &all->of[i]));
    }
    free(all);
    siskin_batch_free(batch);
}

/* Models without a chat template x conversations, tools and grammars: conversations are refused, texts keep to grammars. */
static void no_template(const subject *of) {
    siskin_session *session = session_of(of->model, small());
    siskin_answer *answer = NULL;
    siskin_message message = {"user", "s", NULL};
    siskin_answer_options options = {.size = sizeof options, .tools = TOOLS, .tool_choice = SISKIN_TOOL_CHOICE_REQUIRED};
    siskin_status status = siskin_answer_new(session, &options, &answer);
    if (status == SISKIN_OK) status = siskin_answer_ask(answer, &message, 1);
    CHECK(status == SISKIN_TEMPLATE);
    CHECK(siskin_error_message()[0] != 0);
    siskin_answer_free(answer);
    siskin_session_free(session);
    request asked = {.text = TEXTS[0], .grammar_kind = "regex", .grammar = "(yes|no)"};
    outcome came = alone(of->model, small(), &asked);
    if (came.ending == SISKIN_ENDING_COMPLETE)
        CHECK((came.length == 3 && memcmp(came.text, "yes", 3) == 0) || (came.length == 2 && memcmp(came.text, "no", 2) == 0));
}

/* ---- Handles that are freed, callbacks, options that are not for one kind ---- */

/* Freed models, files and adapters x what was made of them: sessions, batches and adapters go on with the same bits. */
static void freed_and_alive(const subject *of) {
    siskin_file *file = NULL;
    siskin_model *model = NULL;
    siskin_adapter *adapter = NULL;
    tokens fed = prompt(of->model, 14, 40, 40);
    OK(siskin_file_open(of->path, &file));
    OK(siskin_model_load(file, &model));
    siskin_file_free(file);
    if (of->adapter_path != NULL) OK(siskin_adapter_open(of->adapter_path, model, &adapter));
    siskin_session *plain = session_of(model, small()), *first = adapted(model, small(), adapter, 1);
    siskin_batch *batch = batch_of(model, small(), 2, 1, 0);
    outcomes all = {.batch = batch};
    const request asked[] = {{.text = TEXTS[0], .adapter = adapter, .scale = 1}, {.text = TEXTS[1], .embeds = true}, {.text = TEXTS[3]}};
    const request other[] = {{.text = TEXTS[0], .adapter = of->adapter, .scale = 1}, asked[1], asked[2]};
    for (size_t i = 0; i < 3; i++) request_in(batch, &asked[i], &all);
    siskin_adapter_free(adapter);
    siskin_model_free(model);
    siskin_session *same = adapted(of->model, small(), of->adapter, 1);
    feed(first, &fed, 0, 40);
    feed(same, &fed, 0, 40);
    CHECK(same_session(of->model, first, same));
    bytes state = saved(first);
    OK(siskin_session_truncate(first, 3));
    OK(siskin_session_restore_from(first, state.at, state.length));
    CHECK(same_session(of->model, first, same));
    free(state.at);
    step_to_end(batch, &all);
    check_each(of->model, small(), other, &all);
    siskin_session_free(plain);
    siskin_session_free(first);
    siskin_session_free(same);
    siskin_batch_free(batch);
}

/* A session that is freed x its answer: the answer goes on. */
static void answer_of_freed(const subject *of) {
    outcome came = {0}, whole = {0};
    tokens from = prompt(of->model, 15, 20, 20);
    siskin_session *session = session_of(of->model, small());
    siskin_answer *answer = ask_on(session, &from, 20);
    read_on(answer, &whole, SIZE_MAX);
    siskin_answer_free(answer);
    siskin_session_free(session);
    session = session_of(of->model, small());
    answer = ask_on(session, &from, 20);
    siskin_session_free(session);
    read_on(answer, &came, SIZE_MAX);
    CHECK(same_outcome(&came, &whole));
    siskin_answer_free(answer);
}

static void ignore_line(void *data, int level, const char *line) {
    (void)level;
    if (line != NULL) __atomic_add_fetch((int *)data, 1, __ATOMIC_RELAXED);
}

static int load_on(void *data, uint64_t loaded, uint64_t bytes) {
    CHECK(loaded <= bytes);
    return --*(int *)data < 0;
}

typedef struct reading {
    siskin_session *session;
    size_t calls, read, tokens;
} reading;

static void read_some(void *data, size_t read, size_t tokens) {
    reading *of = data;
    size_t count = 0;
    CHECK(read > of->read && read <= tokens && (of->calls == 0 || tokens == of->tokens));
    FAILS(SISKIN_BUSY, siskin_session_tokens(of->session, NULL, &count));
    of->calls++, of->read = read, of->tokens = tokens;
}

/* Logs and progress x loading x batches: who is told changes no bit; loading can be ended; an answer's progress is told of what is
 * read, and is not for batches. */
static void callbacks(const subject *of) {
    int lines = 0, most = 0;
    siskin_file *file = NULL;
    siskin_model *model = NULL;
    siskin_load_options options = {sizeof options, load_on, &most};
    const request asked[] = {{.text = TEXTS[0], .adapter = of->adapter, .scale = 1}, {.text = TEXTS[1], .embeds = true}, {.text = TEXTS[3]}};
    siskin_log_to(ignore_line, &lines);
    OK(siskin_file_open(of->path, &file));
    FAILS(SISKIN_CANCELLED, siskin_model_load_with(file, &options, &model));
    CHECK(model == NULL);
    most = 1000000;
    OK(siskin_model_load_with(file, &options, &model));
    siskin_file_free(file);
    siskin_batch *batch = batch_of(model, small(), 2, 0, 0);
    outcomes *all = together(batch, asked + (of->adapter != NULL), 3 - (of->adapter != NULL), 0);
    siskin_log_to(NULL, NULL);
    check_each(of->model, small(), asked + (of->adapter != NULL), all);
    free(all);

    reading progress = {.session = session_of(model, small())};
    siskin_answer_options how = {.size = sizeof how, .max_tokens = 3, .progress = read_some, .progress_data = &progress};
    tokens from = prompt(model, 16, 50, 50);
    siskin_answer *answer = NULL;
    outcome came = {0};
    uint64_t number;
    OK(siskin_answer_new(progress.session, &how, &answer));
    OK(siskin_answer_ask_tokens(answer, from.at, from.count));
    read_on(answer, &came, SIZE_MAX);
    CHECK(progress.calls > 1 && progress.read == progress.tokens && progress.tokens <= 50);
    FAILS(SISKIN_ARGUMENT, siskin_batch_ask_text(batch, "s", &how, &number));
    siskin_answer_free(answer);
    siskin_session_free(progress.session);
    siskin_batch_free(batch);
    siskin_model_free(model);
}

/* Options of a session x batches, and the other way: refused, not ignored. */
static void options_elsewhere(const subject *of) {
    siskin_session_options drafts = small(), window = small();
    siskin_batch_options options = {.size = sizeof options, .session = &drafts};
    siskin_batch *batch = NULL;
    siskin_answer *answer = NULL;
    float scale = 1;
    const siskin_adapter *adapter = of->adapter;
    siskin_answer_options adapters = {.size = sizeof adapters, .adapters = &adapter, .adapter_scales = &scale, .adapter_count = 1};
    drafts.drafts = 3;
    window.when_full = SISKIN_WHEN_FULL_WINDOW;
    FAILS(SISKIN_ARGUMENT, siskin_batch_new(of->model, &options, &batch));
    options.session = &window;
    FAILS(SISKIN_ARGUMENT, siskin_batch_new(of->model, &options, &batch));
    CHECK(batch == NULL);
    if (adapter == NULL) return;
    siskin_session *session = session_of(of->model, small());
    FAILS(SISKIN_ARGUMENT, siskin_answer_new(session, &adapters, &answer));
    CHECK(answer == NULL);
    siskin_session_free(session);
}

/* ---- Packed files in memory ---- */

/* A packed file in memory x adapters x states x batches: as the file that was packed, and states go from one to the other. At
 * an odd address it is the same. */
static void packed_in_memory(const subject *of, const char *packed_path, size_t odd) {
    siskin_file *file = NULL;
    uint8_t one[16], other[16];
    bytes all = contents(packed_path);
    unsigned char *flash = aligned_alloc(64, (all.length + 127) / 64 * 64);
    if (flash == NULL) abort();
    memcpy(flash + odd, all.at, all.length);
    free(all.at);
    subject packed = *of;
    OK(siskin_file_from_memory(flash + odd, all.length, "flash", &file));
    OK(siskin_model_load(file, &packed.model));
    siskin_file_free(file);
    OK(siskin_adapter_open(of->adapter_path, packed.model, &packed.adapter));
    OK(siskin_model_fingerprint(of->model, one));
    OK(siskin_model_fingerprint(packed.model, other));
    CHECK(memcmp(one, other, sizeof one) == 0);

    tokens fed = prompt(of->model, 17, 60, 60);
    siskin_session *first = adapted(of->model, small(), of->adapter, 1), *second = adapted(packed.model, small(), packed.adapter, 1);
    feed(first, &fed, 0, 40);
    bytes state = saved(first);
    OK(siskin_session_restore_from(second, state.at, state.length));
    feed(first, &fed, 40, 60);
    feed(second, &fed, 40, 60);
    CHECK(same_session(of->model, first, second));
    OK(siskin_session_truncate(second, 0));
    feed(second, &fed, 0, 60);
    CHECK(same_session(of->model, first, second));
    siskin_batch *batch = batch_of(packed.model, small(), 3, 0, 0);
    const request asked[] = {{.text = TEXTS[0], .adapter = packed.adapter, .scale = 1}, {.text = TEXTS[1], .embeds = true}, {.text = TEXTS[3]}};
    const request plain[] = {{.text = TEXTS[0], .adapter = of->adapter, .scale = 1}, asked[1], asked[2]};
    siskin_model_free(packed.model);
    outcomes *came = together(batch, asked, 3, 0);
    check_each(of->model, small(), plain, came);
    free(came);
    free(state.at);
    siskin_batch_free(batch);
    siskin_session_free(first);
    siskin_session_free(second);
    siskin_adapter_free(packed.adapter);
    free(flash);
}

/* ---- All of them ---- */

static bool same_weights(const subject *a, const subject *b) {
    uint8_t one[16], other[16];
    return OK(siskin_model_fingerprint(a->model, one)) && OK(siskin_model_fingerprint(b->model, other)) &&
           memcmp(one, other, sizeof one) == 0;
}

/* Whether conversations can be written for the model, which siskin_model_chat_template tells before. */
static bool chats(const siskin_model *model) {
    siskin_message message = {"user", "s", NULL};
    siskin_session *session = session_of(model, small());
    siskin_answer *answer = NULL;
    OK(siskin_answer_new(session, NULL, &answer));
    CHECK(siskin_answer_ending(answer) == SISKIN_ENDING_NONE);
    siskin_status status = siskin_answer_ask(answer, &message, 1);
    CHECK(status == SISKIN_OK || status == SISKIN_TEMPLATE);
    CHECK((siskin_model_chat_template(model) != NULL) == (status == SISKIN_OK));
    siskin_answer_free(answer);
    siskin_session_free(session);
    return status == SISKIN_OK;
}

static bool open_subject(subject *of) {
    at_work = of->path;
    if (!OK(siskin_model_open(of->path, &of->model))) return false;
    of->chats = chats(of->model);
    if (of->adapter_path == NULL) return true;
    return OK(siskin_adapter_open(of->adapter_path, of->model, &of->adapter)) &&
           OK(siskin_adapter_open(of->adapter_path, of->model, &of->again));
}

static void close_subject(subject *of) {
    siskin_adapter_free(of->adapter);
    siskin_adapter_free(of->again);
    siskin_model_free(of->model);
}

/* What holds of every model, with `adapter` or without. */
static void check_sessions(const subject *of, const siskin_adapter *adapter) {
    const size_t left[] = {0, 1, 2, 17, 30, 45, 59, 60};
    for (uint32_t keys = SISKIN_CACHE_F32; keys <= SISKIN_CACHE_Q8_0; keys++)
        for (uint32_t values = SISKIN_CACHE_F32; values <= SISKIN_CACHE_Q8_0; values++) state_and_cache(of, adapter, keys, values);
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) truncate_and_state(of, adapter, left[i]);
    for (uint32_t full = SISKIN_WHEN_FULL_SHIFT; full <= SISKIN_WHEN_FULL_WINDOW; full++) {
        window_and_state(of, adapter, full);
        window_drafts_and_state(of, adapter, full);
        window_and_drafts(of, adapter, full, NULL);
        window_and_drafts(of, adapter, full, SEEDED);
    }
    state_and_room(of, adapter);
    for (size_t drafts = 0; drafts <= 6; drafts += 3) {
        sampling_and_reuse(of, adapter, drafts);
        drafts_and_state(of, adapter, drafts);
        for (size_t pieces = 0; pieces < 12; pieces += 5) cancel_and_state(of, adapter, pieces, drafts);
    }
    for (size_t i = 1; i < sizeof left / sizeof *left; i++) drafts_and_truncation(of, adapter, left[i]);
}

static void check_subject(const subject *of) {
    check_sessions(of, NULL);
    if (of->adapter != NULL) {
        check_sessions(of, of->adapter);
        state_and_adapter(of);
        adapters_on_adapters(of);
    }
    window_and_truncation(of, SISKIN_WHEN_FULL_SHIFT);
    window_and_truncation(of, SISKIN_WHEN_FULL_WINDOW);
    state_of_another_cache(of);
    state_and_damage(of);
    state_in_file(of);
    cancel_and_feed(of);
    for (uint32_t cache = SISKIN_CACHE_DEFAULT; cache <= SISKIN_CACHE_Q8_0; cache++) batch_and_adapters(of, 0, cache);
    batch_and_adapters(of, 1, SISKIN_CACHE_DEFAULT);
    batch_and_adapters(of, 3, SISKIN_CACHE_DEFAULT);
    idle_and_adapters(of);
    pages_and_answers(of);
    drop_and_others(of);
    stops_and_batch(of);
    grammar_and_adapters(of);
    if (!of->chats) no_template(of);
    else if (siskin_model_context_length(of->model) >= 512) tools_and_adapters(of);
    freed_and_alive(of);
    answer_of_freed(of);
    callbacks(of);
    options_elsewhere(of);
}

/* Adapters x models that they are not of, and models that are adapters: refused. */
static void strangers(const subject *of, const char *adapter_path) {
    siskin_adapter *adapter = NULL;
    siskin_model *model = NULL;
    FAILS(SISKIN_MODEL, siskin_adapter_open(adapter_path, of->model, &adapter));
    FAILS(SISKIN_MODEL, siskin_model_open(adapter_path, &model));
    FAILS(SISKIN_MODEL, siskin_adapter_open(of->path, of->model, &adapter));
    CHECK(adapter == NULL && model == NULL);
}

int main(int argc, char **argv) {
    if (argc < 4) return fprintf(stderr, "usage: pairs FOLDER DEMO.gguf DEMO-ADAPTER.gguf FAMILY.gguf[=ADAPTER.gguf]...\n"), 2;
    subject demo = {.folder = argv[1], .path = argv[2], .adapter_path = argv[3]};
    if (!open_subject(&demo)) return 1;
    check_subject(&demo);
    for (int i = 4; i < argc; i++) {
        subject family = {.folder = argv[1], .path = argv[i]};
        char *equals = strchr(argv[i], '=');
        if (equals != NULL) *equals = 0, family.adapter_path = equals + 1;
        if (open_subject(&family)) {
            if (same_weights(&family, &demo)) packed_in_memory(&demo, family.path, 0), packed_in_memory(&demo, family.path, 3);
            else strangers(&family, demo.adapter_path);
            check_subject(&family);
        }
        close_subject(&family);
    }
    close_subject(&demo);
    printf("%zu checks, %zu failed\n", checks, failures);
    return failures != 0;
}
