/* Answers a question: hello MODEL.gguf "Who are you?" */
#include <siskin.h>
#include <stdio.h>

int main(int argc, char **argv) {
    siskin_model *model = NULL;
    siskin_session *session = NULL;
    siskin_answer *answer = NULL;
    siskin_piece piece;
    if (argc != 3) return fprintf(stderr, "usage: hello MODEL.gguf QUESTION\n"), 2;

    siskin_message question = {"user", argv[2], NULL};
    siskin_status status = siskin_model_open(argv[1], &model);
    if (status == SISKIN_OK) status = siskin_session_new(model, NULL, &session);
    if (status == SISKIN_OK) status = siskin_answer_new(session, NULL, &answer);
    if (status == SISKIN_OK) status = siskin_answer_ask(answer, &question, 1);
    while (status == SISKIN_OK) {
        status = siskin_answer_next(answer, &piece);
        if (status != SISKIN_OK || piece.text == NULL) break;
        fputs(piece.text, stdout);
        fflush(stdout);
    }
    if (status == SISKIN_OK) putchar('\n');
    else fprintf(stderr, "%s\n", siskin_error_message());
    siskin_answer_free(answer);
    siskin_session_free(session);
    siskin_model_free(model);
    return status != SISKIN_OK;
}
