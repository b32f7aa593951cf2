"""SHA256-crypt, as MySQL stores it for caching_sha2_password (Debian's Python has no crypt any more)."""

import hashlib

ALPHABET = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ORDER = [(0, 10, 20), (21, 1, 11), (12, 22, 2), (3, 13, 23), (24, 4, 14), (15, 25, 5), (6, 16, 26),
         (27, 7, 17), (18, 28, 8), (9, 19, 29)]


def fill(pattern, length):
    return (pattern * (length // len(pattern) + 1))[:length]


def digest(password, salt, rounds):
    b = hashlib.sha256(password + salt + password).digest()
    a = hashlib.sha256(password + salt + fill(b, len(password)))
    bits = len(password)
    while bits:
        a.update(b if bits & 1 else password)
        bits >>= 1
    a = a.digest()
    p = fill(hashlib.sha256(password * len(password)).digest(), len(password))
    s = fill(hashlib.sha256(salt * (16 + a[0])).digest(), len(salt))
    for i in range(rounds):
        c = hashlib.sha256(p if i & 1 else a)
        if i % 3:
            c.update(s)
        if i % 7:
            c.update(p)
        c.update(a if i & 1 else p)
        a = c.digest()
    return a


def encode(value, count):
    return bytes(ALPHABET[value >> 6 * i & 63] for i in range(count))


def stored(password, salt, rounds):
    """`$A$`, the rounds in thousands as three hex digits, `$`, the salt, the digest."""
    d = digest(password, salt, rounds)
    text = b"".join(encode(d[i] << 16 | d[j] << 8 | d[k], 4) for i, j, k in ORDER)
    text += encode(d[31] << 8 | d[30], 3)
    return f"$A${rounds // 1000:03X}${salt.decode()}{text.decode()}"
