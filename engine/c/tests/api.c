/* Everything that siskin.h has, on a model: api MODEL.gguf FOLDER. Writes to the folder. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <siskin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: expected %s (%s)\n", __FILE__, __LINE__, #condition, siskin_error_message()); \
            exit(1); \
        } \
    } while (0)
#define OK(call) CHECK((call) == SISKIN_OK)
#define FAILS(call, status, part) CHECK((call) == (status) && strstr(siskin_error_message(), part) != NULL)

/* Allocations of the whole program: the linker sends those of the library here (-Wl,--wrap). */
static _Atomic long allocations;
void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
int __real_posix_memalign(void **, size_t, size_t);
void *__wrap_malloc(size_t size) { allocations++; return __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { allocations++; return __real_calloc(count, size); }
void *__wrap_realloc(void *old, size_t size) { allocations++; return __real_realloc(old, size); }
int __wrap_posix_memalign(void **to, size_t align, size_t size) { allocations++; return __real_posix_memalign(to, align, size); }

static const char GREEDY[] = "{\"temperature\": 0}";
static const siskin_message LIGHT = {"user", "please turn on the kitchen light", NULL};

static char *slurp(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    struct stat stat;
    CHECK(file != NULL && fstat(fileno(file), &stat) == 0);
    *length = (size_t)stat.st_size;
    /* Weights are used where they are if they begin at a multiple of 64. */
    char *bytes = aligned_alloc(64, (*length + 63) / 64 * 64);
    CHECK(bytes != NULL && fread(bytes, 1, *length, file) == *length);
    fclose(file);
    return bytes;
}

/* All text of an answer that was asked for. */
static void collect(siskin_answer *answer, char *text, size_t room) {
    siskin_piece piece;
    size_t length = 0;
    for (;;) {
        OK(siskin_answer_next(answer, &piece));
        if (piece.text == NULL) break;
        CHECK(strlen(piece.text) == piece.length && length + piece.length < room);
        memcpy(text + length, piece.text, piece.length);
        length += piece.length;
    }
    text[length] = 0;
}

/* What the model answers, greedily, in a session of its own. */
static void answer_alone(siskin_model *model, char *text, size_t room) {
    siskin_session *session;
    siskin_answer *answer;
    siskin_answer_options options = {.size = sizeof options};
    options.sampling = GREEDY;
    OK(siskin_session_new(model, NULL, &session));
    OK(siskin_answer_new(session, &options, &answer));
    OK(siskin_answer_ask(answer, &LIGHT, 1));
    collect(answer, text, room);
    CHECK(siskin_answer_ending(answer) == SISKIN_ENDING_COMPLETE);
    CHECK(siskin_answer_token_count(answer) > 0 && siskin_answer_prompt_count(answer) > 0);
    /* In this order, too. */
    siskin_session_free(session);
    siskin_answer_free(answer);
}

/* How far the loading is, until it is to end. */
struct loading { uint64_t loaded, bytes; int calls, most; };
static int load_progress(void *data, uint64_t loaded, uint64_t bytes) {
    struct loading *loading = data;
    CHECK(loaded >= loading->loaded && loaded <= bytes && bytes > 0);
    *loading = (struct loading){loaded, bytes, loading->calls + 1, loading->most};
    return loading->calls == loading->most;
}

/* What is told of a model as it is loaded: a line each. */
static void keep_line(void *data, int level, const char *line) {
    CHECK(level == SISKIN_LOG_NOTE && strchr(line, '\n') == NULL);
    ++*(int *)data;
}

static void loading(const char *path) {
    siskin_file *file;
    siskin_model *model;
    struct loading loading = {.most = -1};
    siskin_load_options options = {.size = sizeof options, .progress = load_progress, .progress_data = &loading};
    int told = 0, lines = 0;
    OK(siskin_file_open(path, &file));
    siskin_log_to(keep_line, &told);
    OK(siskin_model_load_with(file, &options, &model));
    siskin_log_to(NULL, NULL);
    CHECK(loading.calls > 2 && loading.loaded == loading.bytes && loading.bytes > siskin_model_weight_bytes(model) / 2);
    const char *notes = siskin_model_notes(model);
    for (const char *c = notes; *c; c++) lines += c == notes || c[-1] == '\n';
    CHECK(told == lines);
    siskin_model_free(model);
    loading = (struct loading){.most = 2};
    FAILS(siskin_model_load_with(file, &options, &model), SISKIN_CANCELLED, "cancelled");
    CHECK(model == NULL && loading.calls == 2);
    OK(siskin_model_load_with(file, NULL, &model));
    siskin_model_free(model);
    options.size = 3;
    FAILS(siskin_model_load_with(file, &options, &model), SISKIN_ARGUMENT, "siskin_load_options");
    siskin_file_free(file);
}

static void models(const char *path, siskin_model **model, char *said, size_t room) {
    siskin_file *file;
    siskin_model *other;
    uint8_t fingerprint[16], same[16];
    size_t length;
    char text[1024];
    FAILS(siskin_model_open("/no/such.gguf", model), SISKIN_FILE, "/no/such.gguf");
    CHECK(*model == NULL);
    FAILS(siskin_model_open(NULL, model), SISKIN_ARGUMENT, "path");
    FAILS(siskin_model_open(path, NULL), SISKIN_ARGUMENT, "out");
    FAILS(siskin_model_open("/etc/passwd", model), SISKIN_FILE, "/etc/passwd");
    FAILS(siskin_model_open("\xff", model), SISKIN_ARGUMENT, "UTF-8");
    FAILS(siskin_model_open("a\nb", model), SISKIN_FILE, "a\\nb");
    OK(siskin_model_open(path, model));
    CHECK(*siskin_model_name(*model) && *siskin_model_architecture(*model) && *siskin_model_chat_template(*model));
    CHECK(siskin_model_notes(*model) != NULL && siskin_model_weight_bytes(*model) > 0);
    CHECK(siskin_model_context_length(*model) > 0 && siskin_model_vocabulary(*model) > 0);
    OK(siskin_model_fingerprint(*model, fingerprint));
    answer_alone(*model, said, room);
    CHECK(*said);

    /* From a descriptor that stands in the middle, and is closed. */
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && lseek(fd, 1000, SEEK_SET) == 1000);
    FAILS(siskin_file_open_fd(-1, "model", &file), SISKIN_ARGUMENT, "fd");
    FAILS(siskin_file_open_fd(1000, "model", &file), SISKIN_ARGUMENT, "1000");
    OK(siskin_file_open_fd(fd, "model", &file));
    close(fd);
    OK(siskin_model_load(file, &other));
    siskin_file_free(file);
    OK(siskin_model_fingerprint(other, same));
    CHECK(memcmp(fingerprint, same, sizeof same) == 0);
    answer_alone(other, text, sizeof text);
    CHECK(strcmp(text, said) == 0);
    siskin_model_free(other);

    /* From memory. */
    char *bytes = slurp(path, &length);
    FAILS(siskin_file_from_memory(bytes, length / 2, "half", &file), SISKIN_FILE, "half");
    FAILS(siskin_file_from_memory(NULL, length, "none", &file), SISKIN_ARGUMENT, "bytes");
    OK(siskin_file_from_memory(bytes, length, "flash", &file));
    OK(siskin_model_load(file, &other));
    siskin_file_free(file);
    answer_alone(other, text, sizeof text);
    CHECK(strcmp(text, said) == 0);
    siskin_model_free(other);
    free(bytes);
}

static void tokens(siskin_model *model) {
    const char text[] = "the kitchen light";
    uint32_t tokens[64];
    char piece[64], back[256] = "";
    size_t count = 0, length;
    OK(siskin_model_tokenize(model, text, strlen(text), SISKIN_SPECIAL_TEXT, NULL, &count));
    CHECK(count > 0 && count < 64);
    size_t few = count - 1;
    FAILS(siskin_model_tokenize(model, text, strlen(text), SISKIN_SPECIAL_TEXT, tokens, &few), SISKIN_ARGUMENT, "room");
    CHECK(few == count);
    count = 64;
    OK(siskin_model_tokenize(model, text, strlen(text), SISKIN_SPECIAL_TEXT, tokens, &count));
    FAILS(siskin_model_tokenize(model, text, strlen(text), 7, tokens, &count), SISKIN_ARGUMENT, "special");
    for (size_t i = 0; i < count; i++) {
        length = sizeof piece - 1;
        OK(siskin_model_token_bytes(model, tokens[i], piece, &length));
        piece[length] = 0;
        strcat(back, piece);
        CHECK(!siskin_model_is_end(model, tokens[i]));
    }
    CHECK(strstr(back, text) != NULL);
    length = sizeof piece;
    FAILS(siskin_model_token_bytes(model, UINT32_MAX, piece, &length), SISKIN_ARGUMENT, "token");
}

static void plans(const char *path) {
    siskin_file *file;
    siskin_plan plan = {.size = sizeof plan}, shorter = {.size = sizeof shorter}, unset;
    siskin_session_options options = {.size = sizeof options};
    memset(&unset, 0, sizeof unset);
    OK(siskin_file_open(path, &file));
    OK(siskin_file_plan(file, NULL, 1, 0, &plan));
    CHECK(plan.peak > plan.cache && plan.context > 0 && plan.threads > 0);
    FAILS(siskin_file_plan(file, NULL, 1, 1 << 20, &plan), SISKIN_MEMORY, "MiB");
    FAILS(siskin_file_plan(file, NULL, 1, 0, &unset), SISKIN_ARGUMENT, "size");
    options.context = 256;
    OK(siskin_file_plan(file, &options, 1, 0, &shorter));
    CHECK(shorter.peak <= plan.peak && shorter.context == 256);
    OK(siskin_file_plan(file, &options, 8, 0, &shorter));
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    OK(siskin_file_fit(file, &options, plan.peak, &shorter));
    CHECK(options.context == plan.context && shorter.peak <= plan.peak);
    options.context = 0;
    FAILS(siskin_file_fit(file, &options, 1 << 20, NULL), SISKIN_MEMORY, "MiB");
    OK(siskin_file_fit(file, &options, 0, NULL));
    options.size = 2 * sizeof(size_t);
    FAILS(siskin_file_fit(file, &options, 0, NULL), SISKIN_ARGUMENT, "size");
    siskin_file_free(file);
}

struct writing {
    char *bytes;
    size_t length, most;
};

static int take(void *data, const void *bytes, size_t length) {
    struct writing *writing = data;
    if (writing->length + length > writing->most) return 1;
    memcpy(writing->bytes + writing->length, bytes, length);
    writing->length += length;
    return 0;
}

static void sessions(siskin_model *model, const char *folder) {
    siskin_session *session, *other;
    siskin_session_options options = {.size = sizeof options};
    uint32_t tokens[32], held[64];
    size_t count = 32, room = 64;
    const float *logits, *again;
    const size_t vocabulary = siskin_model_vocabulary(model);
    char path[4096];
    OK(siskin_model_tokenize(model, "turn on the light", 17, SISKIN_SPECIAL_TEXT, tokens, &count));
    options.context = 64;
    options.threads = 1;
    OK(siskin_session_new(model, &options, &session));
    CHECK(siskin_session_context(session) == 64 && siskin_session_threads(session) == 1);
    CHECK(siskin_session_bytes(session) > 0 && siskin_session_position(session) == 0);
    FAILS(siskin_session_logits(session, &logits), SISKIN_ARGUMENT, "prompt");
    OK(siskin_session_feed(session, tokens, count));
    OK(siskin_session_tokens(session, held, &room));
    CHECK(room == count && memcmp(held, tokens, count * sizeof *held) == 0);
    OK(siskin_session_logits(session, &logits));

    /* Another session, of other threads and in two parts: the same bits. */
    options.threads = 2;
    OK(siskin_session_new(model, &options, &other));
    OK(siskin_session_feed(other, tokens, 2));
    OK(siskin_session_feed(other, tokens + 2, count - 2));
    OK(siskin_session_logits(other, &again));
    CHECK(memcmp(logits, again, vocabulary * sizeof *logits) == 0);

    /* Saved, and restored after something else; what is broken changes nothing. */
    snprintf(path, sizeof path, "%s/state", folder);
    OK(siskin_session_save(session, path));
    OK(siskin_session_truncate(other, 0));
    OK(siskin_session_feed(other, tokens, 1));
    FAILS(siskin_session_restore(other, "/no/such"), SISKIN_FILE, "/no/such");
    FAILS(siskin_session_restore(other, "/"), SISKIN_FILE, "/: ");
    FAILS(siskin_session_restore(other, "/etc/passwd"), SISKIN_STATE, "/etc/passwd: ");
    FAILS(siskin_session_restore_from(other, "nothing", 7), SISKIN_STATE, "");
    CHECK(siskin_session_position(other) == 1);
    OK(siskin_session_restore(other, path));
    OK(siskin_session_logits(other, &again));
    CHECK(memcmp(logits, again, vocabulary * sizeof *logits) == 0);
    struct writing writing = {malloc(64 << 20), 0, 64 << 20};
    CHECK(writing.bytes != NULL);
    OK(siskin_session_save_to(session, take, &writing));
    OK(siskin_session_restore_from(other, writing.bytes, writing.length));
    writing.length = 0;
    writing.most = 10;
    FAILS(siskin_session_save_to(session, take, &writing), SISKIN_FILE, "returned 1");
    FAILS(siskin_session_save_to(session, NULL, &writing), SISKIN_ARGUMENT, "write");
    FAILS(siskin_session_save(session, "/no/such/folder/state"), SISKIN_FILE, "/no/such/folder");
    free(writing.bytes);

    /* No room: it stays as it was. */
    for (size_t i = count; i < 64; i++) OK(siskin_session_feed(session, tokens, 1));
    FAILS(siskin_session_feed(session, tokens, 1), SISKIN_CONTEXT_FULL, "64");
    CHECK(siskin_session_position(session) == 64);
    tokens[0] = UINT32_MAX;
    OK(siskin_session_truncate(session, 0));
    FAILS(siskin_session_feed(session, tokens, 1), SISKIN_ARGUMENT, "vocabulary");
    siskin_session_free(other);
    siskin_session_free(session);

    options.isa = "z80";
    FAILS(siskin_session_new(model, &options, &session), SISKIN_ARGUMENT, "z80");
    options.isa = NULL;
    options.context = SIZE_MAX;
    FAILS(siskin_session_new(model, &options, &session), SISKIN_ARGUMENT, "context");
    CHECK(session == NULL);
    options.context = 0;
    options.cache_keys = 9;
    FAILS(siskin_session_new(model, &options, &session), SISKIN_ARGUMENT, "cache_keys");
    options.size = 3;
    FAILS(siskin_session_new(model, &options, &session), SISKIN_ARGUMENT, "siskin_session_options");
}

static size_t told_of, told_last;
static siskin_session *read_by;
static void progress(void *data, size_t read, size_t tokens) {
    FAILS(siskin_session_truncate(read_by, 0), SISKIN_BUSY, "another call");
    CHECK(data == &told_of && read <= tokens);
    told_of++;
    told_last = tokens - read;
}

static void answers(siskin_model *model, const char *said) {
    siskin_session *session;
    siskin_answer *answer, *second;
    siskin_answer_options options = {.size = sizeof options};
    siskin_piece piece;
    char text[4096];
    const char *stop[] = {"light"};
    OK(siskin_session_new(model, NULL, &session));
    read_by = session;

    /* Once it has begun, nothing is allocated. */
    options.sampling = GREEDY;
    options.progress = progress;
    options.progress_data = &told_of;
    OK(siskin_answer_new(session, &options, &answer));
    FAILS(siskin_answer_new(session, NULL, &second), SISKIN_BUSY, "freed");
    OK(siskin_answer_next(answer, &piece));
    CHECK(piece.text == NULL);
    OK(siskin_answer_ask(answer, &LIGHT, 1));
    OK(siskin_answer_next(answer, &piece));
    CHECK(told_of > 0 && told_last == 0);
    long before = allocations;
    CHECK(before > 0);
    FAILS(siskin_session_truncate(session, 0), SISKIN_BUSY, "not over");
    before = allocations;
    while (piece.text != NULL) OK(siskin_answer_next(answer, &piece));
    CHECK(allocations == before);
    OK(siskin_session_truncate(session, 0));
    OK(siskin_answer_ask(answer, &LIGHT, 1));
    collect(answer, text, sizeof text);
    CHECK(strcmp(text, said) == 0);
    OK(siskin_answer_ask(answer, &LIGHT, 1));
    CHECK(siskin_answer_reused_count(answer) > 0);
    collect(answer, text, sizeof text);
    CHECK(strcmp(text, said) == 0);
    FAILS(siskin_answer_ask(answer, NULL, 1), SISKIN_ARGUMENT, "messages");
    FAILS(siskin_answer_ask_text(answer, NULL), SISKIN_ARGUMENT, "text");
    FAILS(siskin_answer_ask_tokens(answer, NULL, 0), SISKIN_ARGUMENT, "token");
    siskin_message broken = {"user", "a", "[1"};
    FAILS(siskin_answer_ask(answer, &broken, 1), SISKIN_ARGUMENT, "fields");
    broken.fields = "{\"role\": \"system\"}";
    FAILS(siskin_answer_ask(answer, &broken, 1), SISKIN_ARGUMENT, "role");
    siskin_answer_free(answer);

    /* A long one neither, and a prompt without room changes nothing. */
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    /* Tokens that end answers are never picked. */
    char endless[512];
    int length = snprintf(endless, sizeof endless, "{\"temperature\": 2.0, \"top_k\": 0, \"seed\": 5, \"logit_bias\": [[0, 0]");
    for (uint32_t token = 0; token < siskin_model_vocabulary(model); token++) {
        if (!siskin_model_is_end(model, token)) continue;
        length += snprintf(endless + length, sizeof endless - (size_t)length, ", [%u, -1000]", (unsigned)token);
    }
    CHECK(length < 500);
    strcat(endless, "]}");
    options.sampling = endless;
    options.max_tokens = 300;
    OK(siskin_answer_new(session, &options, &answer));
    OK(siskin_answer_ask_text(answer, "a"));
    OK(siskin_answer_next(answer, &piece));
    before = allocations;
    while (piece.text != NULL) OK(siskin_answer_next(answer, &piece));
    CHECK(allocations == before && siskin_answer_token_count(answer) == 300);
    size_t position = siskin_session_position(session);
    uint32_t *many = calloc(siskin_session_context(session) + 1, sizeof *many);
    CHECK(many != NULL);
    FAILS(siskin_answer_ask_tokens(answer, many, siskin_session_context(session) + 1), SISKIN_CONTEXT_FULL, "");
    many[0] = UINT32_MAX;
    FAILS(siskin_answer_ask_tokens(answer, many, 1), SISKIN_ARGUMENT, "vocabulary");
    CHECK(siskin_session_position(session) == position);
    free(many);
    siskin_answer_free(answer);

    /* A seed, a limit, a stop string. */
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.sampling = "{\"seed\": 7, \"temperature\": 2.0, \"top_k\": 0}";
    options.max_tokens = 3;
    OK(siskin_answer_new(session, &options, &answer));
    OK(siskin_answer_ask_text(answer, "the kitchen"));
    collect(answer, text, sizeof text);
    CHECK(siskin_answer_seed(answer) == 7 && siskin_answer_token_count(answer) <= 3);
    siskin_answer_free(answer);
    options.sampling = GREEDY;
    options.max_tokens = 0;
    options.stop = stop;
    options.stop_count = 1;
    OK(siskin_answer_new(session, &options, &answer));
    OK(siskin_answer_ask(answer, &LIGHT, 1));
    collect(answer, text, sizeof text);
    CHECK(strstr(text, "light") == NULL && strstr(said, "light") != NULL);
    siskin_answer_free(answer);

#ifndef WITHOUT_GRAMMARS
    /* A schema, and options that are none. */
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.sampling = GREEDY;
    options.grammar_kind = "json_schema";
    options.grammar = "{\"enum\": [\"on\", \"off\"]}";
    OK(siskin_answer_new(session, &options, &answer));
    OK(siskin_answer_ask(answer, &LIGHT, 1));
    collect(answer, text, sizeof text);
    CHECK(strcmp(text, "\"on\"") == 0 || strcmp(text, "\"off\"") == 0);
    siskin_answer_free(answer);
    options.grammar = "{\"enum\": ";
    FAILS(siskin_answer_new(session, &options, &answer), SISKIN_GRAMMAR, "");
#endif
    options.grammar = "{}";
    options.grammar_kind = "xml";
    FAILS(siskin_answer_new(session, &options, &answer), SISKIN_ARGUMENT, "xml");
    options.grammar_kind = NULL;
    FAILS(siskin_answer_new(session, &options, &answer), SISKIN_ARGUMENT, "grammar_kind");
    options.grammar = NULL;
    options.sampling = "{\"temprature\": 0}";
    FAILS(siskin_answer_new(session, &options, &answer), SISKIN_ARGUMENT, "temprature");
    options.sampling = "{\"temperature\": -1}";
    FAILS(siskin_answer_new(session, &options, &answer), SISKIN_ARGUMENT, "temperature");
    options.sampling = "{\"temperature\": \"warm\"}";
    FAILS(siskin_answer_new(session, &options, &answer), SISKIN_ARGUMENT, "temperature: expected a value such as 0.8");
    options.sampling = NULL;
    options.tool_choice = SISKIN_TOOL_CHOICE_REQUIRED;
    FAILS(siskin_answer_new(session, &options, &answer), SISKIN_ARGUMENT, "tool_choice");
    options.tool_choice = 7;
    FAILS(siskin_answer_new(session, &options, &answer), SISKIN_ARGUMENT, "tool_choice");
    options.tool_choice = 0;
    options.reserved = 1;
    FAILS(siskin_answer_new(session, &options, &answer), SISKIN_ARGUMENT, "reserved");
    options.reserved = 0;

#ifndef WITHOUT_GRAMMARS
    /* Tools: the arguments of calls are JSON objects. */
    options.sampling = GREEDY;
    options.tools = "[{\"type\": \"function\", \"function\": {\"name\": \"set_light\", \"parameters\": {\"type\": \"object\", "
                    "\"properties\": {\"on\": {\"type\": \"boolean\"}}, \"required\": [\"on\"]}}}]";
    options.tool_choice = SISKIN_TOOL_CHOICE_REQUIRED;
    options.one_call = 1;
    OK(siskin_answer_new(session, &options, &answer));
    OK(siskin_answer_ask(answer, &LIGHT, 1));
    char name[64] = "", arguments[256] = "";
    for (;;) {
        OK(siskin_answer_next(answer, &piece));
        if (piece.text == NULL) break;
        if (piece.kind == SISKIN_PIECE_CALL) strncat(name, piece.text, sizeof name - strlen(name) - 1);
        if (piece.kind == SISKIN_PIECE_ARGUMENTS) strncat(arguments, piece.text, sizeof arguments - strlen(arguments) - 1);
    }
    CHECK(strcmp(name, "set_light") == 0 && arguments[0] == '{' && arguments[strlen(arguments) - 1] == '}');
    siskin_answer_free(answer);
    options.tools = "[{}]";
    FAILS(siskin_answer_new(session, &options, &answer), SISKIN_ARGUMENT, "tools");
#endif
    siskin_session_free(session);
}

static siskin_session *cancelled;
static void cancel_from_handler(int signal) {
    (void)signal;
    siskin_session_cancel(cancelled);
}
static void *cancel_from_thread(void *session) {
    siskin_session_cancel(session);
    return NULL;
}

static void cancelling(siskin_model *model) {
    siskin_answer *answer;
    char text[4096];
    uint32_t token = 1;
    pthread_t thread;
    OK(siskin_session_new(model, NULL, &cancelled));
    OK(siskin_answer_new(cancelled, NULL, &answer));
    OK(siskin_answer_ask(answer, &LIGHT, 1));
    signal(SIGUSR1, cancel_from_handler);
    raise(SIGUSR1);
    collect(answer, text, sizeof text);
    CHECK(siskin_answer_ending(answer) == SISKIN_ENDING_CANCELLED);
    /* It was told once: what comes next is not cancelled. */
    OK(siskin_answer_ask(answer, &LIGHT, 1));
    collect(answer, text, sizeof text);
    CHECK(siskin_answer_ending(answer) == SISKIN_ENDING_COMPLETE);
    siskin_answer_free(answer);
    CHECK(pthread_create(&thread, NULL, cancel_from_thread, cancelled) == 0);
    pthread_join(thread, NULL);
    CHECK(siskin_session_feed(cancelled, &token, 1) == SISKIN_CANCELLED);
    OK(siskin_session_feed(cancelled, &token, 1));
    siskin_session_free(cancelled);
}

static siskin_batch *stepped;
struct batch {
    char text[8][1024];
    int over, embedded, read;
    uint64_t failed;
};

static void tell(void *data, const siskin_event *event) {
    struct batch *batch = data;
    CHECK(event->size >= sizeof *event && event->answer > 0 && event->answer <= 8);
    FAILS(siskin_batch_drop(stepped, event->answer), SISKIN_BUSY, "another call");
    switch (event->kind) {
    case SISKIN_EVENT_READ: batch->read++; break;
    case SISKIN_EVENT_PIECE: strncat(batch->text[event->answer - 1], event->piece.text, 1000); break;
    case SISKIN_EVENT_EMBEDDING:
        CHECK(event->width > 0 && event->embedding[0] == event->embedding[0]);
        batch->embedded++;
        break;
    case SISKIN_EVENT_OVER:
        batch->over++;
        CHECK(event->message == NULL && event->tokens > 0);
        break;
    }
}

static void batches(siskin_model *model, const char *said) {
    siskin_batch *batch;
    siskin_batch_options options = {.size = sizeof options};
    siskin_answer_options answer = {.size = sizeof answer};
    struct batch told;
    uint64_t number;
    size_t unfinished;
    memset(&told, 0, sizeof told);
    options.sequences = 3;
    answer.sampling = GREEDY;
    answer.max_tokens = 40;
    siskin_session_options session = {.size = sizeof session, .drafts = 3};
    options.session = &session;
    FAILS(siskin_batch_new(model, &options, &batch), SISKIN_ARGUMENT, "drafts");
    options.session = NULL;
    OK(siskin_batch_new(model, &options, &batch));
    stepped = batch;
    for (int i = 0; i < 4; i++) OK(siskin_batch_ask(batch, &LIGHT, 1, &answer, &number));
    OK(siskin_batch_ask_text(batch, "the kitchen", &answer, &number));
    OK(siskin_batch_ask_text(batch, "to be dropped", &answer, &number));
    OK(siskin_batch_drop(batch, number));
    OK(siskin_batch_drop(batch, 12345));
    OK(siskin_batch_embed(batch, "a light", &number));
    FAILS(siskin_batch_ask_text(batch, NULL, &answer, &number), SISKIN_ARGUMENT, "text");
    siskin_batch_cancel(batch);
    CHECK(siskin_batch_step(batch, tell, &told, NULL) == SISKIN_CANCELLED);
    do OK(siskin_batch_step(batch, tell, &told, &unfinished));
    while (unfinished > 0);
    CHECK(told.over == 5 && told.embedded == 1 && told.read == 5);
    for (int i = 0; i < 4; i++) CHECK(strcmp(told.text[i], said) == 0);
    siskin_batch_free(batch);
}

/* Two threads with a session each of one model say the same. */
struct working {
    siskin_model *model;
    char text[1024];
};
static void *work(void *data) {
    struct working *working = data;
    answer_alone(working->model, working->text, sizeof working->text);
    /* Failures are each thread's own. */
    siskin_model *none;
    FAILS(siskin_model_open("/no/such.gguf", &none), SISKIN_FILE, "/no/such.gguf");
    return NULL;
}

static void threads(siskin_model *model, const char *said) {
    struct working working[2] = {{model, ""}, {model, ""}};
    pthread_t thread[2];
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&thread[i], NULL, work, &working[i]) == 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
        CHECK(strcmp(working[i].text, said) == 0);
    }
}

int main(int argc, char **argv) {
    siskin_model *model;
    siskin_adapter *adapter;
    char said[1024];
    CHECK(argc == 3);
    CHECK(*siskin_error_message() == 0 && strncmp(siskin_version(), "0.", 2) == 0);
    loading(argv[1]);
    models(argv[1], &model, said, sizeof said);
    tokens(model);
    plans(argv[1]);
    sessions(model, argv[2]);
    answers(model, said);
    cancelling(model);
    batches(model, said);
    threads(model, said);
    FAILS(siskin_adapter_open(argv[1], model, &adapter), SISKIN_MODEL, "");
    FAILS(siskin_session_attach(NULL, NULL, 1), SISKIN_ARGUMENT, "adapter");
    siskin_adapter_free(NULL);
    siskin_batch_free(NULL);
    siskin_answer_free(NULL);
    siskin_session_free(NULL);
    siskin_session_cancel(NULL);
    siskin_file_free(NULL);
    siskin_model_free(model);
    siskin_model_free(NULL);
    puts(said);
    return 0;
}
