#!/usr/bin/env python3
"""Makes the encrypted PDF files beside this script: a page that says "An open door.", with an owner's password alone, and
one that has a user's too. With pypdf 7.1.1 and cryptography: `pip install 'pypdf[crypto]==7.1.1'`."""

from pathlib import Path

from pypdf import PdfWriter
from pypdf.generic import DictionaryObject, NameObject, StreamObject

FILES = {
    "rc4-128.pdf": ("", "RC4-128"),
    "aes-128.pdf": ("", "AES-128"),
    "aes-256.pdf": ("", "AES-256"),
    "aes-256-user.pdf": ("user", "AES-256"),
}


def name(**names):
    return DictionaryObject({NameObject(f"/{key}"): NameObject(f"/{value}") for key, value in names.items()})


for file, (user, algorithm) in FILES.items():
    writer = PdfWriter()
    page = writer.add_blank_page(612, 792)
    font = writer._add_object(name(Type="Font", Subtype="Type1", BaseFont="Helvetica", Encoding="WinAnsiEncoding"))
    fonts = DictionaryObject({NameObject("/F"): font})
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    content = StreamObject()
    content.set_data(b"BT /F 12 Tf 72 720 Td (An open door.) Tj ET")
    page[NameObject("/Contents")] = writer._add_object(content)
    writer.encrypt(user, "owner", algorithm=algorithm)
    writer.write(Path(__file__).with_name(file))
