"""Writes template.json: conversations as Hugging Face's transformers renders them with chat templates.

Needs transformers with jinja2 (made with 5.23.0 and 3.1.6). The templates are those of published models, or shortened
to the parts that conversations without tools reach; `idioms` holds small templates for what the others do not use.
Usage: python make_template_goldens.py
"""
import datetime
import json
import pathlib

import transformers.utils.chat_template_utils as chat

HERE = pathlib.Path(__file__).parent

TEMPLATES = {}

TEMPLATES["chatml"] = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

TEMPLATES["llama-3"] = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)

TEMPLATES["llama-3.2"] = """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- This block extracts the system message, so we can slot it into the right place. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}

{#- System message #}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {{- "You have access to the following functions. To call a function, please respond with JSON for a function call." }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}

{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

TEMPLATES["qwen2.5"] = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou are provided with function signatures within <tools></tools> XML tags:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\\n</tool_call><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

TEMPLATES["qwen3"] = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

TEMPLATES["smollm2"] = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are "
    "a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
    "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)

TEMPLATES["zephyr"] = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}"
    "\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif "
    "message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if "
    "loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)

TEMPLATES["llama-2"] = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
    "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if "
    "loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' "
    "+ message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + "
    "content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)

TEMPLATES["mistral-v0.3"] = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}

{#- This block checks for alternating user/assistant messages, skipping tool calling messages #}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
    {%- endif %}
{%- endfor %}
"""

TEMPLATES["gemma-2"] = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception("
    "'Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == "
    "'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + "
    "role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{'<start_of_turn>model\n'}}{% endif %}"
)

TEMPLATES["gemma-3"] = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '

' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '

' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '
' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>
' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model
'}}
{%- endif -%}
"""

TEMPLATES["phi-3"] = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == "
    "'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)

TEMPLATES["generation"] = (
    "{% for m in messages %}\n  {%- if m.role == 'assistant' -%}\n    {%- generation -%}\n    {{ m.content }}\n"
    "    {%- endgeneration -%}\n  {% else %}\n[{{ m.content }}]\n  {% endif %}\n{% endfor %}\nend\n"
)

IDIOMS = [
    "{{ messages | tojson }}",
    "{{ messages[0] | tojson(indent=2) }} {{ {'a': [1, 2.5, true, none, 'x\\u00e9\\n\"'], 'b': {}} | tojson }}",
    "{{ {'b': 1, 'a': [[], {}]} | tojson(indent=4, sort_keys=true) }}{{ [1, {'k': 2}] | tojson(separators=(',', ':')) }}",
    "{{ '\\u00e9😀</b>&' | tojson }}{{ '\\u00e9😀' | tojson(ensure_ascii=true) }}",
    "{{ [1e16, 1e-7, 1.0, 0.1, 12345678.9, -3] | tojson }}",
    "{{ none }} {{ true }} {{ 1.0 }} {{ [1, 'a', none] }} {{ {'k': 'v'} }} {{ missing }}.",
    "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% set ns = namespace(seen=false, n=0, l=[]) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% set ns.l = ns.l + "
    "[m.role] %}{% endfor %}{{ ns.n }} {{ ns.l | join(',') }} {{ ns.seen }}",
    "{% for m in messages %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex0 }};"
    "{% endfor %}{% for m in [] %}{% else %}none{% endfor %}",
    "{%- macro line(role, text='-', n=1) -%}\n  <{{ role }}>{{ text }}{{ n }}\n{%- endmacro -%}\n{{ line('a') }}|"
    "{{ line('b', 'x', n=2) }}",
    "{{ messages[-1].content[:3] }} {{ messages[::-1][0]['role'] }} {{ 'a-b-c'.split('-', 1) }} {{ '  x '.strip() }}|",
    "{{ 'ab'.upper() }}{{ 'Ab'.lower() }}{{ 'a b'.title() }}{{ 'ab'.startswith('a') }}{{ 'ab'.endswith(('x', 'b')) }}"
    "{{ 'aXbX'.replace('X', '--') }}{{ 'aXbX'.replace('X', '', 1) }}{{ 'abc'.find('c') }}{{ ', '.join(['a', 'b']) }}",
    "{{ '{} and {}'.format('a', 'b') }} {{ 'x' * 3 }} {{ 7 // 2 }} {{ 7 % 3 }} {{ 2 ** 3 }} {{ 1 / 2 }}",
    "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}{% for k, v in messages[0] | items %}{{ k }}"
    "{% endfor %}{{ messages[0].get('name', 'nobody') }}{{ messages[0].keys() | list }}",
    "{{ 'yes' if messages[0].role == 'user' else 'no' }} {{ 'a' in 'abc' }} {{ 'role' in messages[0] }} "
    "{{ 'name' not in messages[0] }} {{ 1 < 2 < 3 }} {{ not true }}",
    "{{ messages | map(attribute='role') | join(' ') }} {{ messages | selectattr('role', 'eq', 'user') | list | length }} "
    "{{ messages | rejectattr('role', 'in', ['user']) | list | length }} {{ ['b', 'a'] | sort | first }} {{ [3, 1] | max }}",
    "{{ 'a\nb' | indent(2) }}|{{ 'a\nb' | indent(2, true) }}|{{ ' x ' | trim }}|{{ 'x' | default('y') }}"
    "{{ missing | default('y') }}{{ '' | default('y', true) }}{{ 'ab' | length }}{{ '3' | int + 1 }}{{ 'ab' | reverse }}",
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n  {#- comment -#}\n  d {{- ' e ' -}}\n f\n",
    "{% raw %}{{ not a tag }} {% if %}{% endraw %}|{# {{ nor this }} #}|{{ '}}' }}|{{ \"%}\" }}|{{ {'a': {'b': 1}}.a.b }}",
    "{% set x %}block {{ 1 }}{% endset %}{{ x }}{% set a, b = 1, 2 %}{{ a }}{{ b }}{% for a, b in [(1, 2), [3, 4]] %}"
    "{{ a }}-{{ b }} {% endfor %}{% for m in messages if m.role == 'user' %}{{ m.role }}{% endfor %}",
    "{{ messages is iterable }}{{ messages[0] is mapping }}{{ messages[0].content is string }}{{ tools is none }}"
    "{{ tools is defined }}{{ x is undefined }}{{ 3 is odd }}{{ 4 is divisibleby 2 }}{{ [] is sequence }}{{ 1 is number }}",
    "{{ messages[0]['content'] ~ 1 ~ none ~ [1] }}{% filter upper %}shout{% endfilter %}{{ strftime_now('%Y-%m-%d') }}",
    "{{ bos_token }}{{ eos_token }}{{ messages[7] }}{{ messages[0].name }}{{ documents is none }}",
    "{% macro turn(role) %}<{{ role }}>{{ caller(role | upper, n=2) }}</{{ role }}>{% endmacro %}"
    "{% for m in messages %}{% call(name, n=1) turn(m.role) %}{{ name * n }}: {{ m.content }}{% endcall %}{% endfor %}"
    "{% macro box() -%} [{{ caller() }}] {%- endmacro %}{% call box() -%} x {%- endcall %}",
    "{% set a = 1 %}{% with a = 2, b = a + 1, c = [a, messages[0].role] %}{{ a }}{{ b }}{{ c }}{% endwith %}{{ a }}"
    "{% with %}{% set a = 3 %}{{ a }}{% endwith %}{{ a }}{% with x = messages[0].content == 'Hi there!' %}{{ x }}{% endwith %}",
    "{% set tree = [{'n': 'a', 'c': [{'n': 'b', 'c': [{'n': 'c'}]}, {'n': 'd'}]}, {'n': 'e'}] %}"
    "{% for t in tree recursive %}{{ loop.depth }}{{ '-' * loop.depth0 }}{{ t.n }}{% if t.c %}({{ loop(t.c) }}){% endif %}"
    "{{ '' if loop.last else ' ' }}{% endfor %}",
    "{% for key, value in {'a': {'b': {}}, 'c': {}}.items() recursive %}{{ key }}{{ loop(value.items()) }}.{% endfor %}",
    "{% set n = 3 %}{{ n * n }} {{ '=' * n }} {{ n * 'ab' }} {{ [1, n] * 2 }} {{ -n * 2 + 1 }} {{ 2 * n ** 2 * 2 }} "
    "{{ 7 // 2 * 2 % 4 }} {{ 1.5 * n }} {{ true * n }} {{ ' ' * -1 }}| {{ (n + 1) * (n - 1) }} {{ n * '3' | int }} "
    "{{ 2 * n == 6 and n * 2 > 5 }} {{ messages[0].content * 2 }} {{ 'x' * messages | length }} {{ [0] * 2 + [n * 2] }}",
    "{{ '%s is %s, %d %05.2f %-4s|%4s|%.2s|%r %% %x' | format(messages[0].role, [1, 'a'], 7, 3.14159, 'é', 'b', 'long', 'q', 255) }}"
    "{{ '<%-8s>' | format(messages[0].role) }}{{ '%03d' | format(7) }}{{ '%+d %e' | format(3, 12345.678) }}",
    "{% for row in [1, 2, 3, 4, 5, 6, 7] | batch(3, '-') %}{{ row | join(',') }};{% endfor %}"
    "{% for row in 'abcde' | batch(2) %}{{ row | join }};{% endfor %}"
    "{% for column in [1, 2, 3, 4, 5, 6, 7] | slice(3, 0) %}{{ column | join(',') }};{% endfor %}"
    "{% for column in [1, 2] | slice(3) %}[{{ column | join(',') }}]{% endfor %}",
    "{% for role, turns in messages | groupby('role') %}{{ role }}={{ turns | map(attribute='content') | join('/') }};{% endfor %}"
    "{% for group in [{'k': 'B'}, {'k': 'a'}, {'k': 'b'}, {}] | groupby('k', default='z') %}"
    "{{ group.grouper }}{{ group.list | length }}{{ group[0] }} {% endfor %}{{ ([{'k': 1}] | groupby('k') | first)[1] }}",
]

CONVERSATIONS = [
    [("user", "Hi there!")],
    [("system", "Be terse."), ("user", "  What is 2+2? "), ("assistant", "4"), ("user", "And \"3+3\"?\n")],
    [("user", "a"), ("assistant", "<think>\nhm\n</think>\n\nb"), ("user", "<c> & é 😀"), ("assistant", "d")],
    [("user", "one"), ("user", "two")],
]

NOW = datetime.datetime(2026, 3, 5, 7, 8, 9, tzinfo=datetime.timezone.utc)


class Frozen(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def render(template, conversation, add_generation_prompt):
    messages = [{"role": role, "content": content} for role, content in conversation]
    try:
        rendered, _ = chat.render_jinja_template(
            [messages],
            chat_template=template,
            add_generation_prompt=add_generation_prompt,
            bos_token="<s>",
            eos_token="</s>",
        )
        return rendered[0]
    except Exception as error:
        return {"error": str(error)}


def main():
    chat.datetime = Frozen
    results = []
    for name, template in TEMPLATES.items():
        outputs = [[render(template, c, prompt) for prompt in (False, True)] for c in CONVERSATIONS]
        results.append({"name": name, "template": template, "outputs": outputs})
    for index, template in enumerate(IDIOMS):
        outputs = [[render(template, c, True)] for c in CONVERSATIONS[:2]]
        results.append({"name": f"idiom {index}", "template": template, "outputs": outputs})
    golden = {"now": int(NOW.timestamp()), "conversations": CONVERSATIONS, "templates": results}
    (HERE / "template.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")


main()
