#!/usr/bin/env python3
"""Writes resources/chat-golden.json: our conversations as DeepSeek's published chat templates render them.

Usage: chat_golden.py TEMPLATES > ../resources/chat-golden.json

TEMPLATES holds V3.jinja, R1_FIRST.jinja, R1.jinja and V3_1.jinja: the chat_template of tokenizer_config.json of
deepseek-ai/DeepSeek-V3, of DeepSeek-R1 as first published and as of February 2025, and of DeepSeek-V3.1 (some copies
of the last were changed to write <think></think> where DeepSeek's own has </think>). Needs jinja2, with the settings
that transformers uses.
"""
import json
import pathlib
import sys

from jinja2.sandbox import ImmutableSandboxedEnvironment

BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
FORMATS = {  # our name: template, its variables
    "V3": ("V3", {}),
    "R1_FIRST": ("R1_FIRST", {}),
    "R1": ("R1", {}),
    "V3_1": ("V3_1", {"thinking": False}),
    "V3_1_THINKING": ("V3_1", {"thinking": True}),
}


def conversation(*turns):
    names = {"s": "system", "u": "user", "a": "assistant"}
    return [{"role": names[role], "content": content} for role, content in turns]


CONVERSATIONS = [
    conversation(("u", "Hello!")),
    conversation(("s", "You are terse."), ("u", "Who are you?")),
    conversation(("s", "One."), ("s", "Two."), ("u", "Three?")),
    conversation(("s", ""), ("s", "After nothing."), ("u", "")),
    conversation(("u", "Hi"), ("a", "Hello."), ("u", "And now?")),
    conversation(("s", "Be kind."), ("u", "Hi"), ("a", "<think>A greeting.</think>Hello."), ("u", "Again")),
    conversation(("u", "Hi"), ("a", "<think>\nLong\nthought\n</think>\n\nHello."), ("u", "a"), ("a", ""), ("u", "b")),
    conversation(("u", "x"), ("a", "<think>a</think>b</think>c"), ("u", "y")),
    conversation(("u", "x"), ("a", "</think>"), ("u", "y")),
    conversation(("u", "x"), ("a", "<think>never ended"), ("u", "y")),
    conversation(("u", "<think>mine</think> what of this?"), ("a", "Nothing."), ("u", "ok")),
    conversation(("u", "Hi"), ("s", "A late rule."), ("a", "Yes."), ("u", "So?"), ("s", "One more.")),
    conversation(("u", "  spaces and\n\nlines \n"), ("a", "\n answer\t"), ("u", "{{ x }} {% y %} {# z #}")),
    conversation(("u", "多语言 👩‍👩‍👧 é"), ("a", "<think>想</think>好的"), ("u", "\"quoted\" \\n 'text'")),
]


def main():
    folder = pathlib.Path(sys.argv[1])
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    cases = []
    for messages in CONVERSATIONS:
        prompts = {}
        for name, (template, variables) in FORMATS.items():
            text = (folder / (template + ".jinja")).read_text(encoding="utf-8")
            prompts[name] = environment.from_string(text).render(
                messages=messages, bos_token=BOS, eos_token=EOS, add_generation_prompt=True, **variables)
        cases.append({"messages": messages, "prompts": prompts})
    json.dump(cases, sys.stdout, ensure_ascii=False, indent=1)
    print()


main()
