// The words of the page, in each language that it speaks.

const WORDS = {
  en: {
    skip: "Skip to the content", menu: "Menu", pages: "Pages", chat: "Chat", operation: "Operation",
    conversations: "Conversations", new: "New conversation", untitled: "New conversation", close: "Close",
    language: "Language", theme: "Theme", auto: "System", light: "Light", dark: "Dark", shortcuts: "Keyboard shortcuts",
    "ask-title": "What can I do for you?", "ask-note": "Answers are made by {0} on this server, and nowhere else.",
    "ask-hint": "Write a message", send: "Send", stop: "Stop", attach: "Attach a text or a PDF file", remove: "Remove {0}",
    "you": "You", "model-said": "Answer", thoughts: "Thoughts", thinking: "Thinking", calls: "Call of {0}",
    copy: "Copy", copied: "Copied", edit: "Edit", retry: "Try again", delete: "Delete", cancel: "Cancel", save: "Save and ask",
    "stopped": "Stopped", "cut": "The answer reached its limit", waiting: "Reading the question",
    "is-answering": "The model answers", "is-done": "Answer: {0}", "is-long": "The answer is there, {0} words",
    stats: "{0} tokens", "stats-rate": "{0} tokens/s", "stats-first": "first after {0} s", "stats-cached": "{0} of {1} prompt tokens cached",
    model: "Model", settings: "Settings", export: "Export", "as-markdown": "Markdown", "as-json": "JSON",
    "delete-chat": "Delete conversation", "delete-sure": "Delete “{0}”? It is kept in this browser alone.",
    system: "System message", "system-note": "What the model is told before the conversation", temperature: "Temperature",
    "model-own": "Model’s own", seed: "Seed", random: "Random", "most-tokens": "Tokens of an answer, at most",
    "no-limit": "No limit", adapters: "Adapters", scale: "Scale", tools: "Tools", "tools-note": "An array of functions, as OpenAI’s API has them (JSON)",
    "tools-wrong": "Tools: expected a JSON array", result: "Result of the call", "give-result": "Send result",
    "too-large": "{0} is larger than {1} MB", reading: "Reading {0}", attached: "{0} is attached",
    "no-text": "{0} is no text. Texts, Markdown, CSV, code and PDF files can be attached.",
    "summarize": "Summarize this text.", "storage-full": "This browser has no room for more conversations: delete some",
    "key-title": "API key", "key-note": "This server answers who has a key. It is kept until this tab is closed.", "use-key": "Use key",
    "no-server": "The server does not answer",
    memory: "Memory", "memory-of": "of {0} free", "memory-limit": "limit {0}", "memory-taken": "models {0}, process {1}", temperatures: "Temperature", "no-sensor": "no sensor",
    clock: "Clock", "clock-of": "of {0}", threads: "Threads", "threads-of": "of {0} CPUs", queue: "Answers", "queue-now": "{0} waiting",
    "at-work": "{0} at work", "read-rate": "Prompts", "answer-rate": "Answers", rates: "Speed", "rate-read": "prompts {0} tokens/s",
    "per-second": "tokens/s", cache: "Cache hits", "cache-of": "of {0} prompt tokens", models: "Models",
    "in-memory": "In memory", "on-disk": "On disk", load: "Load", unload: "Unload", loading: "Loading", "unloads-in": "leaves in {0}", stays: "stays",
    "takes": "takes {0}", "model-file": "{0}, {1} weights, {2}, file {3}", "model-loaded": "takes {0}, context {1}, up to {2} at once, threads {3}, {4}",
    "model-work": "{0} answers, {1} tokens", pull: "Pull a model", "pull-hint": "hf.co/ORG/REPO:Q4_K_M", "pull-do": "Pull", "pull-done": "{0} is here",
    errors: "Last errors", "no-errors": "None since the server began.", time: "Time", status: "Status", address: "Address", message: "Message",
    reports: "Evaluation reports", "no-reports": "None yet: siskin eval --json and --html write them.", "report-page": "Page with plots",
    "report-bad": "This is no report of siskin eval.", "report-of": "text {0}, {1} windows of {2} tokens", "report-tasks": "tasks {0}, {1} of them",
    "report-against": "reference {0}", "report-best": "The best of each row is bold.", bound: "Bound", kept: "kept", "not-kept": "not kept", "not-measured": "not measured",
    figure: "Figure", "m-ppl": "perplexity", "m-kl": "mean KL divergence, nats", "m-kl_median": "median KL divergence", "m-kl_p99": "99 % KL divergence",
    "m-kl_max": "maximum KL divergence", "m-same_top": "same top token, %", "m-rms_dp": "RMS Δp, %", "m-weight_error": "weight error, relative RMS, %",
    "m-exact": "exact match, %", "m-json": "equal JSON, %", "m-rouge": "ROUGE-L F1, %", "m-support": "names and numbers supported, %",
    "m-ttft_ms": "time to first token, ms", "m-prefill_tps": "prefill, tokens/s", "m-decode_tps": "decode, tokens/s", "m-load_ms": "load, ms",
    "m-peak_mib": "peak memory, MiB", "m-file_mib": "file, MiB", "m-bpw": "bits per weight", "m-joules_per_token": "joules per token",
    "up-since": "Siskin {0}, up for {1}", "not-told": "not told",
    "keys-send": "Send", "keys-line": "New line", "keys-stop": "Stop the answer", "keys-focus": "To the message field",
    "keys-edit": "Edit the last message, from an empty field", "keys-new": "New conversation", "keys-pages": "Chat, operation", "keys-help": "This list",
  },
  ja: {
    skip: "本文へ移動", menu: "メニュー", pages: "ページ", chat: "チャット", operation: "運用",
    conversations: "会話", new: "新しい会話", untitled: "新しい会話", close: "閉じる",
    language: "言語", theme: "配色", auto: "システム", light: "ライト", dark: "ダーク", shortcuts: "キーボードショートカット",
    "ask-title": "ご用件をどうぞ", "ask-note": "回答はこのサーバー上の {0} が作成します。外部には送信されません。",
    "ask-hint": "メッセージを入力", send: "送信", stop: "停止", attach: "テキストや PDF を添付", remove: "{0} を外す",
    "you": "あなた", "model-said": "回答", thoughts: "思考", thinking: "思考中", calls: "{0} の呼び出し",
    copy: "コピー", copied: "コピーしました", edit: "編集", retry: "再試行", delete: "削除", cancel: "キャンセル", save: "保存して質問",
    "stopped": "停止しました", "cut": "回答が上限に達しました", waiting: "質問を読んでいます",
    "is-answering": "回答中です", "is-done": "回答: {0}", "is-long": "回答が届きました（{0} 語）",
    stats: "{0} トークン", "stats-rate": "{0} トークン/秒", "stats-first": "最初まで {0} 秒", "stats-cached": "入力 {1} トークン中 {0} を再利用",
    model: "モデル", settings: "設定", export: "書き出し", "as-markdown": "Markdown", "as-json": "JSON",
    "delete-chat": "会話を削除", "delete-sure": "「{0}」を削除しますか。会話はこのブラウザーにのみ保存されています。",
    system: "システムメッセージ", "system-note": "会話の前にモデルへ伝える内容", temperature: "温度",
    "model-own": "モデルの既定値", seed: "シード", random: "ランダム", "most-tokens": "回答の最大トークン数",
    "no-limit": "制限なし", adapters: "アダプター", scale: "倍率", tools: "ツール", "tools-note": "OpenAI の API と同じ形式の関数の配列（JSON）",
    "tools-wrong": "ツールには JSON の配列を入力してください", result: "呼び出しの結果", "give-result": "結果を送信",
    "too-large": "{0} は {1} MB を超えています", reading: "{0} を読み込んでいます", attached: "{0} を添付しました",
    "no-text": "{0} はテキストではありません。テキスト、Markdown、CSV、ソースコード、PDF などを添付できます。",
    "summarize": "この文章を要約してください。", "storage-full": "ブラウザーの保存領域がいっぱいです。会話を削除してください",
    "key-title": "API キー", "key-note": "このサーバーの利用にはキーが必要です。キーはこのタブを閉じるまで保持されます。", "use-key": "キーを使う",
    "no-server": "サーバーが応答しません",
    memory: "メモリー", "memory-of": "空き（全 {0}）", "memory-limit": "上限 {0}", "memory-taken": "モデル {0}、プロセス {1}", temperatures: "温度", "no-sensor": "センサーなし",
    clock: "クロック", "clock-of": "最大 {0}", threads: "スレッド", "threads-of": "CPU {0} 個中", queue: "回答", "queue-now": "待機 {0} 件",
    "at-work": "処理中 {0} 件", "read-rate": "入力", "answer-rate": "回答", rates: "速度", "rate-read": "入力 {0} トークン/秒",
    "per-second": "トークン/秒", cache: "キャッシュヒット", "cache-of": "入力 {0} トークン中", models: "モデル",
    "in-memory": "メモリー上", "on-disk": "ディスク上", load: "読み込む", unload: "解放する", loading: "読み込み中", "unloads-in": "{0} 後に解放", stays: "常駐",
    "takes": "{0} を使用", "model-file": "{0}、重み {1}、{2}、ファイル {3}", "model-loaded": "使用量 {0}、コンテキスト {1}、同時 {2} 件、スレッド {3}、{4}",
    "model-work": "回答 {0} 件、{1} トークン", pull: "モデルを取得", "pull-hint": "hf.co/ORG/REPO:Q4_K_M", "pull-do": "取得", "pull-done": "{0} を取得しました",
    errors: "最近のエラー", "no-errors": "サーバーの起動後、エラーはありません。", time: "時刻", status: "状態", address: "アドレス", message: "内容",
    reports: "評価レポート", "no-reports": "まだありません。siskin eval --json または --html で作成できます。", "report-page": "グラフ付きページ",
    "report-bad": "siskin eval のレポートではありません。", "report-of": "テキスト {0}（{2} トークンの区間 {1} 個）", "report-tasks": "課題 {0}（{1} 件）",
    "report-against": "基準 {0}", "report-best": "各行の最良値は太字です。", bound: "条件", kept: "達成", "not-kept": "未達成", "not-measured": "未測定",
    figure: "指標", "m-ppl": "パープレキシティ", "m-kl": "平均 KL ダイバージェンス（nat）", "m-kl_median": "KL ダイバージェンス中央値", "m-kl_p99": "KL ダイバージェンス 99 %",
    "m-kl_max": "KL ダイバージェンス最大値", "m-same_top": "最上位トークンの一致（%）", "m-rms_dp": "RMS Δp（%）", "m-weight_error": "重みの誤差、相対 RMS（%）",
    "m-exact": "完全一致（%）", "m-json": "JSON 一致（%）", "m-rouge": "ROUGE-L F1（%）", "m-support": "裏付けのある名称と数値（%）",
    "m-ttft_ms": "最初のトークンまで（ms）", "m-prefill_tps": "入力（トークン/秒）", "m-decode_tps": "生成（トークン/秒）", "m-load_ms": "読み込み（ms）",
    "m-peak_mib": "最大メモリー（MiB）", "m-file_mib": "ファイル（MiB）", "m-bpw": "重みあたりビット数", "m-joules_per_token": "トークンあたりジュール",
    "up-since": "Siskin {0}、稼働 {1}", "not-told": "不明",
    "keys-send": "送信", "keys-line": "改行", "keys-stop": "回答を停止", "keys-focus": "入力欄へ移動",
    "keys-edit": "直前のメッセージを編集（入力欄が空のとき）", "keys-new": "新しい会話", "keys-pages": "チャット、運用", "keys-help": "この一覧",
  },
};

let language = "en";

export function speakIn(name) {
  language = WORDS[name] ? name : "en";
  document.documentElement.lang = language;
}

export const spoken = () => language;

// The browser's first language that the page speaks.
export const preferred = () =>
  (navigator.languages ?? []).map((name) => name.slice(0, 2).toLowerCase()).find((name) => WORDS[name]) ?? "en";

// A word or sentence, with what stands for {0}, {1} and so on.
export function say(word, ...values) {
  const text = WORDS[language][word] ?? word;
  return text.replace(/\{(\d)\}/g, (_, index) => values[index] ?? "");
}

export const number = (value, digits = 0) =>
  new Intl.NumberFormat(language, { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(value);

export function bytes(count) {
  if (count === null || count === undefined) return say("not-told");
  const units = ["B", "kB", "MB", "GB", "TB"];
  let index = 0;
  while (count >= 1000 && index < units.length - 1) [count, index] = [count / 1000, index + 1];
  return `${number(count, index > 2 || (index && count < 10) ? 1 : 0)} ${units[index]}`;
}

export function duration(seconds) {
  const [unit, value] = seconds < 90 ? ["second", seconds] : seconds < 5400 ? ["minute", seconds / 60]
    : seconds < 129600 ? ["hour", seconds / 3600] : ["day", seconds / 86400];
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 0 }).format(value);
}
