// Siskin for C++17: what siskin.h has, with handles that free themselves and failures as exceptions.
//
//     siskin::Model model("model.gguf");
//     siskin::Session session(model);
//     siskin::Answer answer(session);
//     answer.ask({{"user", "Who are you?"}}, [](std::string_view text) { std::cout << text << std::flush; });
#ifndef SISKIN_HPP
#define SISKIN_HPP

#include <siskin.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace siskin {

// Why a call failed.
class Error : public std::runtime_error {
public:
    explicit Error(siskin_status status) : std::runtime_error(siskin_error_message()), status_(status) {}
    siskin_status status() const noexcept { return status_; }

private:
    siskin_status status_;
};

inline void check(siskin_status status) {
    if (status != SISKIN_OK) throw Error(status);
}

// A handle that frees itself; `get()` is for the functions of siskin.h.
template <typename T, void (*Free)(T *)>
class Handle {
public:
    T *get() const noexcept { return handle_.get(); }

protected:
    explicit Handle(T *handle) : handle_(handle) {}

private:
    struct Freed {
        void operator()(T *handle) const noexcept { Free(handle); }
    };
    std::unique_ptr<T, Freed> handle_;
};

// What a call makes behind its last argument.
template <typename T, typename... Arguments, typename... Given>
T *make(siskin_status (*call)(Arguments...), Given... given) {
    T *made = nullptr;
    check(call(given..., &made));
    return made;
}

struct Message {
    std::string role;
    std::string content;
};

class Model : public Handle<siskin_model, siskin_model_free> {
public:
    explicit Model(const std::string &path) : Handle(make<siskin_model>(siskin_model_open, path.c_str())) {}

    std::vector<uint32_t> tokenize(std::string_view text, siskin_special special = SISKIN_SPECIAL_TEXT) const {
        size_t count = 0;
        check(siskin_model_tokenize(get(), text.data(), text.size(), special, nullptr, &count));
        std::vector<uint32_t> tokens(count);
        check(siskin_model_tokenize(get(), text.data(), text.size(), special, tokens.data(), &count));
        return tokens;
    }
};

class Adapter : public Handle<siskin_adapter, siskin_adapter_free> {
public:
    Adapter(const std::string &path, const Model &model)
        : Handle(make<siskin_adapter>(siskin_adapter_open, path.c_str(), model.get())) {}
};

class Session : public Handle<siskin_session, siskin_session_free> {
public:
    explicit Session(const Model &model, const siskin_session_options *options = nullptr)
        : Handle(make<siskin_session>(siskin_session_new, model.get(), options)) {}

    void attach(const Adapter &adapter, float scale = 1) { check(siskin_session_attach(get(), adapter.get(), scale)); }
    void detach(const Adapter &adapter) { check(siskin_session_detach(get(), adapter.get())); }
    void save(const std::string &path) { check(siskin_session_save(get(), path.c_str())); }
    void restore(const std::string &path) { check(siskin_session_restore(get(), path.c_str())); }
    void cancel() const noexcept { siskin_session_cancel(get()); }
};

class Answer : public Handle<siskin_answer, siskin_answer_free> {
public:
    explicit Answer(const Session &session, const siskin_answer_options *options = nullptr)
        : Handle(make<siskin_answer>(siskin_answer_new, session.get(), options)) {}

    // What is said in answer to a conversation; `each` is told its pieces as they come.
    std::string ask(const std::vector<Message> &messages, const std::function<void(std::string_view)> &each = {}) {
        std::vector<siskin_message> turns;
        for (const Message &message : messages) turns.push_back({message.role.c_str(), message.content.c_str(), nullptr});
        check(siskin_answer_ask(get(), turns.data(), turns.size()));
        std::string said;
        siskin_piece piece;
        while (check(siskin_answer_next(get(), &piece)), piece.text != nullptr) {
            if (piece.kind != SISKIN_PIECE_TEXT) continue;
            said.append(piece.text, piece.length);
            if (each) each({piece.text, piece.length});
        }
        return said;
    }

    siskin_ending ending() const noexcept { return siskin_answer_ending(get()); }
};

}  // namespace siskin

#endif  // SISKIN_HPP
