/* Siskin: quantized language models on small boards, the same bits on every CPU.
 *
 * A model is opened, a session of it reserves all the memory that it will use, and an answer gives pieces of text; a batch works
 * on many answers at once. Look at examples/hello.c, which is 30 lines.
 *
 * - Calls return SISKIN_OK or why they failed; siskin_error_message() has the reason as a line of text, for each thread.
 * - A call that makes a handle writes it behind its last argument, and NULL there if it fails. The functions that free handles
 *   take NULL.
 * - Texts end with a zero byte and are UTF-8. Options may be NULL, and are structs whose size is set and whose other fields are 0
 *   where nothing else is said: siskin_session_options options = {.size = sizeof options};
 * - Models, files and adapters may be used by any number of threads at a time, and freed before what was made of them. Sessions,
 *   answers and batches are used by one thread at a time, whichever; siskin_session_cancel and siskin_batch_cancel may be called by
 *   any thread and by signal handlers.
 * - A call with a handle that another call is at work with, as one out of a function that the library was given, fails with
 *   SISKIN_BUSY; one without a status returns 0 or NULL. Functions that the library was given are called by the thread that called the
 *   library, and must return.
 * - Nothing is written to standard output or standard error, no signal handler is set, and no fault ends the process. What a model, a
 *   session and a batch need is reserved when they are made, which fails with SISKIN_MEMORY; where the system refuses memory for
 *   texts, a model's vocabulary among them, files that are written and grammars, as it hardly does on Linux, the allocator aborts and
 *   says so on standard error.
 */


#ifndef SISKIN_H
#define SISKIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The version of this header. Versions with the same first number that is not 0 are compatible, and so are those that begin with 0
 * and have the same second number. */
#define SISKIN_VERSION_MAJOR 0
#define SISKIN_VERSION_MINOR 1
#define SISKIN_VERSION_PATCH 0

/**
 * How a call ended. New ones may be added: take what you do not know for a failure.
 */
typedef enum siskin_status {
  /**
   * It did what it was asked for.
   */
  SISKIN_OK = 0,
  /**
   * An argument or an option has no meaning: NULL, a text that is not UTF-8, a value out of range, JSON of another form. Or there is
   * too little room for what a call writes to an array: then the count says how much it takes.
   */
  SISKIN_ARGUMENT = 1,
  /**
   * A file cannot be opened, read or written, or is no sound GGUF file.
   */
  SISKIN_FILE = 2,
  /**
   * The file is no model or adapter that can be run, or the adapter is one of another model.
   */
  SISKIN_MODEL = 3,
  /**
   * The chat template fails for these messages.
   */
  SISKIN_TEMPLATE = 4,
  /**
   * There is no such grammar, or the answer can no longer keep to it.
   */
  SISKIN_GRAMMAR = 5,
  /**
   * The context has no room for the tokens. The session is as it was.
   */
  SISKIN_CONTEXT_FULL = 6,
  /**
   * A saved state is none, is damaged, or is of another model or cache. The session is as it was.
   */
  SISKIN_STATE = 7,
  /**
   * There is too little memory for it.
   */
  SISKIN_MEMORY = 8,
  /**
   * It was cancelled.
   */
  SISKIN_CANCELLED = 9,
  /**
   * Another call is at work with the handle, or its session has an answer that is not over.
   */
  SISKIN_BUSY = 10,
  /**
   * The model gave no numbers: its weights, or a state that was restored, are broken.
   */
  SISKIN_NOT_FINITE = 11,
  /**
   * A fault of the library, which should be reported. Free the handles that took part; they can do nothing else any more.
   */
  SISKIN_INTERNAL = 12,
} siskin_status;

/**
 * Why an answer is over.
 */
typedef enum siskin_ending {
  /**
   * It is not over, or none was asked for.
   */
  SISKIN_ENDING_NONE = 0,
  /**
   * The model ended its turn, or a stop string came.
   */
  SISKIN_ENDING_COMPLETE = 1,
  /**
   * There were as many tokens as were asked for.
   */
  SISKIN_ENDING_LIMIT = 2,
  /**
   * The context has no room for another token.
   */
  SISKIN_ENDING_CONTEXT_FULL = 3,
  /**
   * It was cancelled.
   */
  SISKIN_ENDING_CANCELLED = 4,
  /**
   * A call failed.
   */
  SISKIN_ENDING_FAILED = 5,
} siskin_ending;

/**
 * What a line that is told is about. New ones may be added.
 */
typedef enum siskin_log_level {
  /**
   * Something to be known of a model that was loaded: what `siskin_model_notes` has.
   */
  SISKIN_LOG_NOTE = 0,
  /**
   * A fault of the library, where it happened, in whichever thread: a call fails with `SISKIN_INTERNAL`, if one waits for it.
   */
  SISKIN_LOG_FAULT = 1,
} siskin_log_level;

/**
 * How texts that spell control tokens, such as `<|im_end|>`, become tokens.
 */
typedef enum siskin_special {
  /**
   * As text like any other: for what users wrote.
   */
  SISKIN_SPECIAL_TEXT = 0,
  /**
   * As the control tokens: for texts whose writer may use them.
   */
  SISKIN_SPECIAL_PARSE = 1,
} siskin_special;

/**
 * What keys and values are kept in.
 */
typedef enum siskin_cache {
  /**
   * The usual one: `SISKIN_CACHE_F16`.
   */
  SISKIN_CACHE_DEFAULT = 0,
  /**
   * 32-bit floats.
   */
  SISKIN_CACHE_F32 = 1,
  /**
   * 16-bit floats.
   */
  SISKIN_CACHE_F16 = 2,
  /**
   * 8-bit integers, a scale for each 32.
   */
  SISKIN_CACHE_Q8_0 = 3,
} siskin_cache;

/**
 * What a session does where its context is full.
 */
typedef enum siskin_when_full {
  /**
   * Refuses tokens: `SISKIN_CONTEXT_FULL`.
   */
  SISKIN_WHEN_FULL_STOP = 0,
  /**
   * Forgets the older half of what is behind the first `keep` tokens. A prompt that begins like what the session holds then reuses
   * only the tokens before the first that know of forgotten ones, mostly `keep`.
   */
  SISKIN_WHEN_FULL_SHIFT = 1,
  /**
   * Forgets the oldest eighth of what is behind the first `keep` tokens: some four that are kept are enough for texts without
   * end.
   */
  SISKIN_WHEN_FULL_WINDOW = 2,
} siskin_when_full;

/**
 * How tools may be called.
 */
typedef enum siskin_tool_choice {
  /**
   * The model may answer, and call tools as well.
   */
  SISKIN_TOOL_CHOICE_AUTO = 0,
  /**
   * It calls a tool, and says nothing else. A limit or a stop string may end the answer in the midst of the call.
   */
  SISKIN_TOOL_CHOICE_REQUIRED = 1,
} siskin_tool_choice;

/**
 * What a piece of an answer is.
 */
typedef enum siskin_piece_kind {
  /**
   * What is said.
   */
  SISKIN_PIECE_TEXT = 0,
  /**
   * What the model thought before it said anything.
   */
  SISKIN_PIECE_THOUGHTS = 1,
  /**
   * What divides the two.
   */
  SISKIN_PIECE_MARK = 2,
  /**
   * A call of a tool begins: its name.
   */
  SISKIN_PIECE_CALL = 3,
  /**
   * More of a call's arguments: all of it together is a JSON object.
   */
  SISKIN_PIECE_ARGUMENTS = 4,
} siskin_piece_kind;

/**
 * What is new of an answer.
 */
typedef enum siskin_event_kind {
  /**
   * The prompt is read: `reused` tokens of it were there already.
   */
  SISKIN_EVENT_READ = 0,
  /**
   * A piece of the answer.
   */
  SISKIN_EVENT_PIECE = 1,
  /**
   * What a text comes to as a whole: `embedding` and `width`. There is no more of it.
   */
  SISKIN_EVENT_EMBEDDING = 2,
  /**
   * The answer is over: `ending`, `tokens`, and where it failed `message`. There is no more of it.
   */
  SISKIN_EVENT_OVER = 3,
} siskin_event_kind;

/**
 * An adapter in memory. May be used by several threads at a time.
 */
typedef struct siskin_adapter siskin_adapter;

/**
 * Answers of a session, to one prompt after the other. Used by one thread at a time.
 */
typedef struct siskin_answer siskin_answer;

/**
 * Answers that are worked on together. Each has the bits that it would have alone. Used by one thread at a time, but for
 * `siskin_batch_cancel`.
 */
typedef struct siskin_batch siskin_batch;

/**
 * An open GGUF file. May be used by several threads at a time.
 */
typedef struct siskin_file siskin_file;

/**
 * A model in memory. May be used by several threads at a time, and freed before what was made of it.
 */
typedef struct siskin_model siskin_model;

/**
 * A session of a model. Used by one thread at a time, but for `siskin_session_cancel`.
 */
typedef struct siskin_session siskin_session;

/**
 * Who is told a line without its end: `level` is a `siskin_log_level`, and the line is there during the call. Any thread calls it,
 * also several at a time, and it must call nothing of this library.
 */
typedef void (*siskin_log_fn)(void *data, int level, const char *line);

/**
 * What a session is made for. Set `size`; all else may stay 0, which is what suits an assistant on the device.
 */
typedef struct siskin_session_options {
  /**
   * `sizeof(siskin_session_options)`.
   */
  size_t size;
  /**
   * Tokens that it holds at most, up to the model's own context length. 0: that, but at most 4,096.
   */
  size_t context;
  /**
   * Threads that share the work, the calling one among them, at most 1,024. 0: as many as the machine has for it.
   */
  size_t threads;
  /**
   * Tokens of a prompt that are worked on together. 0: 256.
   */
  size_t batch;
  /**
   * Draft tokens that are worked on at a time, at most, up to 31: what the text went on with when its last tokens stood in it before. They
   * change no bit of an answer. 0: none.
   */
  size_t drafts;
  /**
   * NULL, or the instruction set of the kernels: `"avx512-vnni"`, `"avx-vnni"`, `"avx2"`, `"ssse3"`, `"neon-i8mm"`, `"neon-dotprod"`,
   * `"neon"` or `"scalar"`, as far as the CPU and the library have it. NULL: what the environment variable
   * `SISKIN_ISA` names, else the best that the CPU has.
   */
  const char *isa;
  /**
   * A `siskin_cache`: what keys are kept in.
   */
  uint32_t cache_keys;
  /**
   * A `siskin_cache`: what values are kept in.
   */
  uint32_t cache_values;
  /**
   * A `siskin_when_full`. Sessions only.
   */
  uint32_t when_full;
  /**
   * 1: each thread that is started stays on a CPU of its own.
   */
  uint32_t pin;
  /**
   * Tokens that are never forgotten: see `when_full`. At most two less than the context.
   */
  size_t keep;
} siskin_session_options;

/**
 * Bytes that a model and what is made of it will take, in this process. The caller sets `size`, and the library the rest.
 */
typedef struct siskin_plan {
  /**
   * `sizeof(siskin_plan)`.
   */
  size_t size;
  /**
   * The most memory that the process will have at once, pages of mapped files included.
   */
  uint64_t peak;
  /**
   * Weights in memory of their own.
   */
  uint64_t weights;
  /**
   * Weights that are used where the file is: if it is mapped, all processes that run it share them.
   */
  uint64_t in_place;
  /**
   * Keys and values of all tokens.
   */
  uint64_t cache;
  /**
   * Activations, scratch and samplers.
   */
  uint64_t scratch;
  /**
   * The program: what the process has already, code, tokenizer, stacks. Estimated.
   */
  uint64_t program;
  /**
   * What is given back once the model is loaded.
   */
  uint64_t loading;
  /**
   * Tokens that a sequence holds at most.
   */
  uint64_t context;
  /**
   * Threads that share the work.
   */
  uint64_t threads;
} siskin_plan;

/**
 * How a model is loaded.
 */
typedef struct siskin_load_options {
  /**
   * `sizeof(siskin_load_options)`.
   */
  size_t size;
  /**
   * NULL, or who is told, again and again, how many bytes of the file's tensors are loaded, and of how many. What returns another
   * number than 0 has the loading end with `SISKIN_CANCELLED`.
   */
  int (*progress)(void *data, uint64_t loaded, uint64_t bytes);
  /**
   * What `progress` is given.
   */
  void *progress_data;
} siskin_load_options;

/**
 * How answers are to be. Set `size`; all else may stay 0.
 */
typedef struct siskin_answer_options {
  /**
   * `sizeof(siskin_answer_options)`.
   */
  size_t size;
  /**
   * NULL, or how tokens are picked: a JSON object of options by the names that llama.cpp gave them, such as
   * `{"temperature": 0.7, "top_k": 40, "seed": 1}`. What it does not name is as the model's file recommends, else as in
   * llama.cpp. A temperature of 0 takes the likeliest token. The numbers that chance is made of go on from one answer of the handle
   * to the next: with a seed its answers are the same, one after the other, as those of another handle with it; without one, one is
   * drawn for the handle. They are
   * samplers, seed, min_keep, top_k, top_p, min_p, typ_p, top_n_sigma, xtc_probability, xtc_threshold, temperature,
   * dynatemp_range, dynatemp_exponent, penalty_last_n, repeat_penalty, frequency_penalty, presence_penalty, dry_multiplier,
   * dry_base, dry_allowed_length, dry_penalty_last_n, dry_sequence_breakers, mirostat (0 to 2), mirostat_tau, mirostat_eta,
   * and logit_bias, a list of pairs of a token and what is added to its logit.
   */
  const char *sampling;
  /**
   * Tokens of an answer, at most. 0: as many as the context has room for.
   */
  size_t max_tokens;
  /**
   * NULL, or texts before which an answer ends.
   */
  const char *const *stop;
  /**
   * How many they are.
   */
  size_t stop_count;
  /**
   * NULL, or what the answer keeps to: `"json_object"`, `"json_schema"`, `"regex"`, `"lark"` or `"gbnf"`. It is compiled by a thread
   * whose stack has 256 MiB of address space, of which it touches what it needs; so are `tools`.
   */
  const char *grammar_kind;
  /**
   * The schema, expression or grammar. NULL for `"json_object"`.
   */
  const char *grammar;
  /**
   * NULL, or the tools that the model may call: a JSON array as in OpenAI's chat completions.
   */
  const char *tools;
  /**
   * A `siskin_tool_choice`.
   */
  uint32_t tool_choice;
  /**
   * 1: at most one call.
   */
  uint32_t one_call;
  /**
   * NULL, or further values that the model's template knows by name, a JSON object such as `{"enable_thinking": false}`.
   */
  const char *template_variables;
  /**
   * 1: control tokens stand in the answer by their own text.
   */
  uint32_t show_special;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * NULL, or who is told after each batch how many of the prompt's tokens that have to be read are read. Answers of a session
   * only.
   */
  void (*progress)(void *data, size_t read, size_t tokens);
  /**
   * What `progress` is given.
   */
  void *progress_data;
  /**
   * NULL, or adapters that change the model. Answers of a batch only: those of a session are attached to it.
   */
  const struct siskin_adapter *const *adapters;
  /**
   * How many times each.
   */
  const float *adapter_scales;
  /**
   * How many they are.
   */
  size_t adapter_count;
} siskin_answer_options;

/**
 * One turn of a conversation.
 */
typedef struct siskin_message {
  /**
   * Who speaks: `"system"`, `"user"`, `"assistant"`, `"tool"`, or what else the model's template knows.
   */
  const char *role;
  /**
   * What is said.
   */
  const char *content;
  /**
   * NULL, or all else that the turn has, a JSON object, such as `{"tool_calls": [...]}`. It may have a `content` of another form than
   * a text where `content` above is NULL.
   */
  const char *fields;
} siskin_message;

/**
 * A piece of an answer.
 */
typedef struct siskin_piece {
  /**
   * Whole characters, with a zero byte behind them, until the next piece is asked for; a model may write zero bytes among them, too.
   * NULL: the answer is over.
   */
  const char *text;
  /**
   * Its bytes, without the zero.
   */
  size_t length;
  /**
   * A `siskin_piece_kind`. New ones may be added.
   */
  uint32_t kind;
  /**
   * Of a call: its number among those of the answer, from 0.
   */
  uint32_t call;
} siskin_piece;

/**
 * What a batch is made for. Set `size`; all else may stay 0.
 */
typedef struct siskin_batch_options {
  /**
   * `sizeof(siskin_batch_options)`.
   */
  size_t size;
  /**
   * Answers that are worked on at a time, at most, up to 4,096; others wait. 0: 8.
   */
  size_t sequences;
  /**
   * Sequences beside them that are kept for what later prompts begin with: with the others 8,192 at most.
   */
  size_t idle;
  /**
   * Pages of 256 positions that the cache has for all. 0: as many as they fill with nothing in common. Where there are fewer, answers
   * wait for each other; one that needs more than there are fails.
   */
  size_t pages;
  /**
   * NULL, or the rest: `context` is that of each sequence. `drafts` and `when_full` are not for batches.
   */
  const struct siskin_session_options *session;
} siskin_batch_options;

/**
 * What `siskin_batch_step` tells of an answer. What it points to is there until the function that is told returns.
 */
typedef struct siskin_event {
  /**
   * `sizeof(siskin_event)` of the library.
   */
  size_t size;
  /**
   * The answer's number.
   */
  uint64_t answer;
  /**
   * A `siskin_event_kind`. New ones may be added.
   */
  uint32_t kind;
  /**
   * A `siskin_ending`, of an answer that is over.
   */
  uint32_t ending;
  /**
   * A piece.
   */
  struct siskin_piece piece;
  /**
   * Tokens of the prompt that were there already.
   */
  size_t reused;
  /**
   * Tokens of an answer that is over.
   */
  size_t tokens;
  /**
   * The mean of the activations behind the last norm, over all tokens.
   */
  const float *embedding;
  /**
   * As many as the model is wide.
   */
  size_t width;
  /**
   * Why an answer failed; NULL where it did not.
   */
  const char *message;
} siskin_event;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library, such as `"0.1.0"`.
 */
const char *siskin_version(void);

/**
 * What went wrong in the last call that failed on this thread, as one line without an end of line; `""` where none did.
 * It is there until the thread's next call that fails.
 */
const char *siskin_error_message(void);

/**
 * Has `log` told what the library has to tell, with `data`, in this whole process, from the next line on; nobody where it is NULL,
 * which is so at first. A line that is being told meanwhile may still go to the former.
 *
 * # Safety
 * `log` may be called by any thread with `data`, until some time after another has taken its place.
 */
void siskin_log_to(siskin_log_fn log,
                   void *data);

/**
 * Opens a GGUF file and maps it into memory; any part of a model that is split over several files opens all of it.
 *
 * Nobody may write to the file or cut it off while it is open or a model of it is there: replace a model by a new file that is
 * renamed over it. A page that can no longer be read raises SIGBUS.
 *
 * # Safety
 * `path` is a text, and `out` may be written to.
 */
enum siskin_status siskin_file_open(const char *path,
                                    struct siskin_file **out);

/**
 * Opens the GGUF file behind a descriptor that is open for reading, and calls it `name` in messages. The descriptor stays the
 * caller's, who may close it; where it stands in the file makes no difference.
 *
 * # Safety
 * `name` is a text, and `out` may be written to.
 */
enum siskin_status siskin_file_open_fd(int fd,
                                       const char *name,
                                       struct siskin_file **out);

/**
 * Takes a GGUF file that is in memory, as flash that is mapped or data of the program, and calls it `name` in messages. The
 * weights of a packed file are used where they are, if they begin at a multiple of 64.
 *
 * # Safety
 * `bytes` points to `len` bytes that stay there, unchanged, until this file and all models of it are freed. `name` is a text, and
 * `out` may be written to.
 */
enum siskin_status siskin_file_from_memory(const void *bytes,
                                           size_t len,
                                           const char *name,
                                           struct siskin_file **out);

/**
 * Frees the file. Models that were loaded from it stay.
 *
 * # Safety
 * It is NULL or was not freed, and nobody uses it any more.
 */
void siskin_file_free(struct siskin_file *file);

/**
 * Plans for the model of a file and one session of it, or with `sequences` above 1 for a batch of so many, without idle ones and with as
 * many pages as they fill. Options that a session would refuse are refused.
 *
 * Where `memory` is not 0 and the plan is beyond so many bytes the call fails with `SISKIN_MEMORY`, and the message has the figures.
 * What is planned is kept: a process that loads the model and makes what was planned does not take more.
 *
 * # Safety
 * `file` was not freed, `options` is NULL or points to options, and `plan` to a plan whose `size` is set.
 */
enum siskin_status siskin_file_plan(const struct siskin_file *file,
                                    const struct siskin_session_options *options,
                                    size_t sequences,
                                    uint64_t memory,
                                    struct siskin_plan *plan);

/**
 * Chooses what of the options must give way for one session to fit `memory` bytes, 0 for what the machine has left: a shorter
 * context, then a narrower cache. Writes what fits to `options`, and its plan to `plan`, which may be NULL.
 *
 * # Safety
 * `file` was not freed, `options` points to options whose `size` is set, and `plan` is NULL or points to such a plan.
 */
enum siskin_status siskin_file_fit(const struct siskin_file *file,
                                   struct siskin_session_options *options,
                                   uint64_t memory,
                                   struct siskin_plan *plan);

/**
 * Opens a GGUF file and loads its model: `siskin_file_open` and `siskin_model_load` in one.
 *
 * # Safety
 * `path` is a text, and `out` may be written to.
 */
enum siskin_status siskin_model_open(const char *path, struct siskin_model **out);

/**
 * Loads the model of an open file.
 *
 * # Safety
 * `file` was not freed, and `out` may be written to.
 */
enum siskin_status siskin_model_load(const struct siskin_file *file, struct siskin_model **out);

/**
 * Loads the model of an open file as options say, which are as usual where they are NULL.
 *
 * # Safety
 * `file` was not freed, `options` is NULL or points to options, and `out` may be written to.
 */
enum siskin_status siskin_model_load_with(const struct siskin_file *file,
                                          const struct siskin_load_options *options,
                                          struct siskin_model **out);

/**
 * Frees the model. Sessions, batches and adapters of it stay, and keep of it what they need.
 *
 * # Safety
 * It is NULL or was not freed, and nobody uses it any more.
 */
void siskin_model_free(struct siskin_model *model);

/**
 * What the model is called, by its file; it is there as long as the model is.
 *
 * # Safety
 * It was not freed.
 */
const char *siskin_model_name(const struct siskin_model *model);

/**
 * Its architecture, such as `"llama"`; it is there as long as the model is.
 *
 * # Safety
 * It was not freed.
 */
const char *siskin_model_architecture(const struct siskin_model *model);

/**
 * What is to be known of it, a line each: `""` where nothing is. It is there as long as the model is.
 *
 * # Safety
 * It was not freed.
 */
const char *siskin_model_notes(const struct siskin_model *model);

/**
 * The Jinja template that conversations are written by; it is there as long as the model is. NULL where the model has none, and its
 * vocabulary no tokens to do without: it goes on with texts, and conversations are refused with `SISKIN_TEMPLATE`.
 *
 * # Safety
 * It was not freed.
 */
const char *siskin_model_chat_template(const struct siskin_model *model);

/**
 * The longest sequence that it was made for, in tokens.
 *
 * # Safety
 * It was not freed.
 */
size_t siskin_model_context_length(const struct siskin_model *model);

/**
 * How many tokens it has: logits are as many.
 *
 * # Safety
 * It was not freed.
 */
size_t siskin_model_vocabulary(const struct siskin_model *model);

/**
 * Bytes of its weights.
 *
 * # Safety
 * It was not freed.
 */
uint64_t siskin_model_weight_bytes(const struct siskin_model *model);

/**
 * Writes the fingerprint of its weights to `out`, which has room for 16 bytes: it is the same for the same weights, wherever
 * they came from.
 *
 * # Safety
 * The model was not freed, and `out` has room for 16 bytes.
 */
enum siskin_status siskin_model_fingerprint(const struct siskin_model *model,
                                            uint8_t *out);

/**
 * Writes the tokens of `text`, which has `len` bytes and in which control tokens are as `special` says, a `siskin_special`, to
 * `tokens`, and their number to `count`. `*count` says how many there is
 * room for; where that is too few, or `tokens` is NULL, it says how many there are. Tokens that every prompt of the model begins
 * with, such as `<s>`, are among them.
 *
 * # Safety
 * The model was not freed; `text` points to `len` bytes, `count` may be read and written, and `tokens` is NULL or has room for
 * `*count`.
 */
enum siskin_status siskin_model_tokenize(const struct siskin_model *model,
                                         const char *text,
                                         size_t len,
                                         uint32_t special,
                                         uint32_t *tokens,
                                         size_t *count);

/**
 * Writes the bytes that a token stands for to `bytes`, and their number to `len`, which says how many there is room for. They are
 * part of a character at times. A control token stands for none.
 *
 * # Safety
 * The model was not freed; `len` may be read and written, and `bytes` is NULL or has room for `*len`.
 */
enum siskin_status siskin_model_token_bytes(const struct siskin_model *model,
                                            uint32_t token,
                                            char *bytes,
                                            size_t *len);

/**
 * Whether an answer ends with this token.
 *
 * # Safety
 * The model was not freed.
 */
bool siskin_model_is_end(const struct siskin_model *model, uint32_t token);

/**
 * Makes a session, with all the memory that it will ever use.
 *
 * # Safety
 * `model` was not freed, `options` is NULL or points to options, and `out` may be written to.
 */
enum siskin_status siskin_session_new(const struct siskin_model *model,
                                      const struct siskin_session_options *options,
                                      struct siskin_session **out);

/**
 * Frees the session, or leaves it to its answer if there is one.
 *
 * # Safety
 * It is NULL or was not freed, and nobody uses it any more.
 */
void siskin_session_free(struct siskin_session *session);

/**
 * Has the work that is under way end before the next layer of the model, or else the work that comes next. Whoever is at work is
 * told so, once: a call that feeds tokens with `SISKIN_CANCELLED`, an answer by its ending.
 *
 * May be called by any thread at any time, and by a signal handler.
 *
 * # Safety
 * The session was not freed.
 */
void siskin_session_cancel(const struct siskin_session *session);

/**
 * Adds tokens to what the session holds and works them out.
 *
 * # Safety
 * The session was not freed, and `tokens` points to `count`.
 */
enum siskin_status siskin_session_feed(struct siskin_session *session,
                                       const uint32_t *tokens,
                                       size_t count);

/**
 * The logits behind the last token: as many as the model has tokens. They are there until the session is used again.
 *
 * # Safety
 * The session was not freed, and `logits` may be written to.
 */
enum siskin_status siskin_session_logits(struct siskin_session *session,
                                         const float **logits);

/**
 * Writes the tokens that the session holds to `tokens`, and their number to `count`, which says how many there is room for.
 *
 * # Safety
 * The session was not freed; `count` may be read and written, and `tokens` is NULL or has room for `*count`.
 */
enum siskin_status siskin_session_tokens(struct siskin_session *session,
                                         uint32_t *tokens,
                                         size_t *count);

/**
 * Tokens that the session holds.
 *
 * # Safety
 * It was not freed.
 */
size_t siskin_session_position(struct siskin_session *session);

/**
 * Tokens that it holds at most.
 *
 * # Safety
 * It was not freed.
 */
size_t siskin_session_context(struct siskin_session *session);

/**
 * Threads that share its work.
 *
 * # Safety
 * It was not freed.
 */
size_t siskin_session_threads(struct siskin_session *session);

/**
 * Bytes of its memory.
 *
 * # Safety
 * It was not freed.
 */
uint64_t siskin_session_bytes(struct siskin_session *session);

/**
 * Forgets all tokens behind the first `count`. There are logits again once tokens are fed.
 *
 * # Safety
 * The session was not freed.
 */
enum siskin_status siskin_session_truncate(struct siskin_session *session, size_t count);

/**
 * Changes the model by an adapter, `scale` times, for what is worked out from now on; the session forgets what it held. One that
 * is attached gets the scale.
 *
 * # Safety
 * Neither was freed.
 */
enum siskin_status siskin_session_attach(struct siskin_session *session,
                                         const struct siskin_adapter *adapter,
                                         float scale);

/**
 * Takes an adapter off, if it is attached, and the session forgets what it held: it has the model's own bits again. An adapter that
 * was freed or opened anew is another one.
 *
 * # Safety
 * Neither was freed.
 */
enum siskin_status siskin_session_detach(struct siskin_session *session,
                                         const struct siskin_adapter *adapter);

/**
 * Writes what the session holds to a file, which appears under its name when it is whole: a file that had the name is replaced
 * then, and stays if anything fails. Nobody else may read it.
 *
 * # Safety
 * The session was not freed, and `path` is a text.
 */
enum siskin_status siskin_session_save(struct siskin_session *session,
                                       const char *path);

/**
 * Hands what the session holds to `write`, piece by piece: it returns 0, or another number to end the work, which then fails with
 * `SISKIN_FILE`.
 *
 * # Safety
 * The session was not freed. `write` takes `data` and what it is given, and throws nothing.
 */
enum siskin_status siskin_session_save_to(struct siskin_session *session,
                                          int (*write)(void *data, const void *bytes, size_t len),
                                          void *data);

/**
 * Goes on from a saved state: what the session held is forgotten. Its logits are those that it would have if it had been fed the
 * same tokens, to the bit, on whatever machine the state was saved.
 *
 * # Safety
 * The session was not freed, and `path` is a text.
 */
enum siskin_status siskin_session_restore(struct siskin_session *session,
                                          const char *path);

/**
 * The same from memory.
 *
 * # Safety
 * The session was not freed, and `bytes` points to `len` bytes.
 */
enum siskin_status siskin_session_restore_from(struct siskin_session *session,
                                               const void *bytes,
                                               size_t len);

/**
 * Prepares answers of a session. There is one such handle of a session at a time: another is refused with `SISKIN_BUSY` until it
 * is freed.
 *
 * # Safety
 * The session was not freed, `options` is NULL or points to options, and `out` may be written to.
 */
enum siskin_status siskin_answer_new(struct siskin_session *session,
                                     const struct siskin_answer_options *options,
                                     struct siskin_answer **out);

/**
 * Frees the answer; its session can have another then.
 *
 * # Safety
 * It is NULL or was not freed, and nobody uses it any more.
 */
void siskin_answer_free(struct siskin_answer *answer);

/**
 * Asks for the answer to a conversation, in the model's chat template. What is left of the answer before is dropped. Of the prompt
 * only what the session does not hold already is read, when the first piece is asked for.
 *
 * # Safety
 * The answer was not freed, and `messages` points to `count`.
 */
enum siskin_status siskin_answer_ask(struct siskin_answer *answer,
                                     const struct siskin_message *messages,
                                     size_t count);

/**
 * Asks for what a text goes on with.
 *
 * # Safety
 * The answer was not freed, and `text` is a text.
 */
enum siskin_status siskin_answer_ask_text(struct siskin_answer *answer, const char *text);

/**
 * Asks for what these tokens go on with.
 *
 * # Safety
 * The answer was not freed, and `tokens` points to `count`.
 */
enum siskin_status siskin_answer_ask_tokens(struct siskin_answer *answer,
                                            const uint32_t *tokens,
                                            size_t count);

/**
 * The next piece of the answer, as soon as there is one; one whose `text` is NULL when it is over, for a reason that
 * `siskin_answer_ending` gives. Nothing is allocated, but for answers that call tools or keep to a grammar.
 *
 * # Safety
 * The answer was not freed, and `piece` may be written to.
 */
enum siskin_status siskin_answer_next(struct siskin_answer *answer,
                                      struct siskin_piece *piece);

/**
 * Why the answer is over.
 *
 * # Safety
 * It was not freed.
 */
enum siskin_ending siskin_answer_ending(const struct siskin_answer *answer);

/**
 * The answer's tokens so far.
 *
 * # Safety
 * It was not freed.
 */
size_t siskin_answer_token_count(const struct siskin_answer *answer);

/**
 * The prompt's tokens.
 *
 * # Safety
 * It was not freed.
 */
size_t siskin_answer_prompt_count(const struct siskin_answer *answer);

/**
 * How many of the prompt's tokens the session held already.
 *
 * # Safety
 * It was not freed.
 */
size_t siskin_answer_reused_count(const struct siskin_answer *answer);

/**
 * The seed of the random numbers that tokens are picked by, drawn or given.
 *
 * # Safety
 * It was not freed.
 */
uint64_t siskin_answer_seed(const struct siskin_answer *answer);

/**
 * Makes a batch, with all the memory that its sequences will ever use.
 *
 * # Safety
 * `model` was not freed, `options` is NULL or points to options, and `out` may be written to.
 */
enum siskin_status siskin_batch_new(const struct siskin_model *model,
                                    const struct siskin_batch_options *options,
                                    struct siskin_batch **out);

/**
 * Frees the batch. Of answers that are not over nothing more is told.
 *
 * # Safety
 * It is NULL or was not freed, and nobody uses it any more.
 */
void siskin_batch_free(struct siskin_batch *batch);

/**
 * Has the step that is under way end before the next layer of the model, or else the next one that has tokens to work on: it returns
 * `SISKIN_CANCELLED`, and the step behind it goes on where it stood.
 *
 * May be called by any thread at any time, and by a signal handler.
 *
 * # Safety
 * The batch was not freed.
 */
void siskin_batch_cancel(const struct siskin_batch *batch);

/**
 * Asks for the answer to a conversation, in the model's chat template, and writes the answer's number to `number`.
 *
 * # Safety
 * The batch was not freed, `messages` points to `count`, `options` is NULL or points to options, and `number` may be written to.
 */
enum siskin_status siskin_batch_ask(struct siskin_batch *batch,
                                    const struct siskin_message *messages,
                                    size_t count,
                                    const struct siskin_answer_options *options,
                                    uint64_t *number);

/**
 * Asks for what a text goes on with, and writes the answer's number to `number`.
 *
 * # Safety
 * As for `siskin_batch_ask`; `text` is a text.
 */
enum siskin_status siskin_batch_ask_text(struct siskin_batch *batch,
                                         const char *text,
                                         const struct siskin_answer_options *options,
                                         uint64_t *number);

/**
 * Asks what a text comes to as a whole, and writes the number that it is told by to `number`.
 *
 * # Safety
 * The batch was not freed, `text` is a text, and `number` may be written to.
 */
enum siskin_status siskin_batch_embed(struct siskin_batch *batch,
                                      const char *text,
                                      uint64_t *number);

/**
 * Drops an answer or a text, of which nothing more is told: between two steps. One that is over is none any more, and nothing happens.
 *
 * # Safety
 * The batch was not freed.
 */
enum siskin_status siskin_batch_drop(struct siskin_batch *batch,
                                     uint64_t number);

/**
 * Begins answers where there are places, works on a batch of tokens, and tells `tell` what is new. Writes to `unfinished`, which may
 * be NULL, how many are not over: go on until there are none.
 *
 * # Safety
 * The batch was not freed. `tell` is NULL or takes `data` and an event, and throws nothing. `unfinished` is
 * NULL or may be written to.
 */
enum siskin_status siskin_batch_step(struct siskin_batch *batch,
                                     void (*tell)(void *data, const struct siskin_event *event),
                                     void *data,
                                     size_t *unfinished);

/**
 * Opens an adapter, a GGUF file, for a model.
 *
 * # Safety
 * `path` is a text, `model` was not freed, and `out` may be written to.
 */
enum siskin_status siskin_adapter_open(const char *path,
                                       const struct siskin_model *model,
                                       struct siskin_adapter **out);

/**
 * Loads the adapter of an open file, for a model.
 *
 * # Safety
 * Neither was freed, and `out` may be written to.
 */
enum siskin_status siskin_adapter_load(const struct siskin_file *file,
                                       const struct siskin_model *model,
                                       struct siskin_adapter **out);

/**
 * Frees the adapter. Where it is attached it stays.
 *
 * # Safety
 * It is NULL or was not freed, and nobody uses it any more.
 */
void siskin_adapter_free(struct siskin_adapter *adapter);

/**
 * What the adapter is called, by its file; it is there as long as the adapter is.
 *
 * # Safety
 * It was not freed.
 */
const char *siskin_adapter_name(const struct siskin_adapter *adapter);

/**
 * Bytes of its numbers.
 *
 * # Safety
 * It was not freed.
 */
uint64_t siskin_adapter_bytes(const struct siskin_adapter *adapter);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SISKIN_H */
