// Answers two questions of one conversation: chat MODEL.gguf QUESTION QUESTION
#include <iostream>
#include <siskin.hpp>

int main(int argc, char **argv) {
    if (argc < 3) {
        std::cerr << "usage: chat MODEL.gguf QUESTION...\n";
        return 2;
    }
    try {
        siskin::Model model(argv[1]);
        siskin::Session session(model);
        siskin::Answer answer(session);
        std::vector<siskin::Message> conversation;
        for (int i = 2; i < argc; i++) {
            conversation.push_back({"user", argv[i]});
            // Of the conversation only what is new is read.
            std::string said = answer.ask(conversation, [](std::string_view text) { std::cout << text << std::flush; });
            std::cout << '\n';
            conversation.push_back({"assistant", said});
        }
    } catch (const siskin::Error &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
