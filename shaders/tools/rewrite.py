#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turns a flattened shader source into plain C++ for clang, kernels, bindings and all.

    rewrite.py --target host|nvptx [--cpp clang++-19] [-o OUT.cpp] [--table OUT.json] IN

The text is preprocessed first (macros may make kernels), then goes through untouched but
for what C++ does not know: attributes in [[ ]], `kernel`, threadgroup variables,
constructors of vectors, and explicit instantiations with host_name. Lines stay where
they were, so compilers name the .metal file. After it come the entry points: for the
host a loop over threads a kernel and a table of parameters, for nvptx one .entry a
kernel. C++ deduces all types; this program knows none.

What is outside the subset of shaders/README.md is an error here: function constants,
other builtins or attributes than those below, pointers without an address space in
kernel parameters, two parameters at one index, initialised or nested threadgroup
variables, double, and what MSL lacks of C++.
"""
import argparse
import json
import re
import subprocess
import sys
import zlib

TOKEN = re.compile(r'''
    (?P<marker>^\#[^\n]*)
   |(?P<space>\s+)
   |(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
   |(?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)
   |(?P<name>[A-Za-z_]\w*)
   |(?P<mark>::|->|<<=|>>=|<=|>=|==|!=|&&|\|\||\+\+|--|<<|.)
''', re.X | re.S | re.M)

BUILTINS = {  # of a thread; what they are, by target
    "threadgroup_position_in_grid": ("group", "__nvvm_read_ptx_sreg_ctaid_x()"),
    "thread_index_in_threadgroup": ("mtl_thread", "__nvvm_read_ptx_sreg_tid_x()"),
    "threadgroups_per_grid": ("call->groups", "__nvvm_read_ptx_sreg_nctaid_x()"),
    "thread_index_in_simdgroup": ("mtl_thread % call->simd_width",
                                  "__nvvm_read_ptx_sreg_tid_x() % 32u"),
    "simdgroup_index_in_threadgroup": ("mtl_thread / call->simd_width",
                                       "__nvvm_read_ptx_sreg_tid_x() / 32u"),
    "threads_per_simdgroup": ("call->simd_width", "32u"),
}
COLLECTIVE = {"threadgroup_barrier", "simdgroup_barrier"}
SPACES = ("device", "constant", "threadgroup", "thread")
FORBIDDEN = {
    "double": "MSL has no double",
    "goto": "MSL has no goto",
    "virtual": "MSL has no virtual functions",
    "new": "MSL has no new",
    "delete": "MSL has no delete",
    "try": "MSL has no exceptions",
    "throw": "MSL has no exceptions",
    "dynamic_cast": "MSL has no dynamic_cast",
    "typeid": "MSL has no typeid",
    "thread_local": "MSL has no thread_local",
    "asm": "MSL has no asm",
    "__asm__": "MSL has no asm",
    "texture2d": "textures are not used here",
    "sampler": "textures are not used here",
}


VECTOR = re.compile(r"(bool|u?char|u?short|u?int|half|float)[234]")


class ShaderError(Exception):
    pass


class Token:
    __slots__ = ("kind", "text", "file", "line", "out")

    def __init__(self, kind, text, file, line):
        self.kind, self.text, self.file, self.line = kind, text, file, line
        self.out = text  # what is written in its place

    def fail(self, message):
        raise ShaderError(f"{self.file}:{self.line}: error: {message}")


def tokenize(text, file):
    tokens, line = [], 1
    for m in TOKEN.finditer(text):
        kind, t = m.lastgroup, m.group()
        tokens.append(Token(kind, t, file, line))
        if kind == "marker":
            place = re.match(r'#(?:line)?\s+(\d+)\s+"([^"]*)"', t)
            if place:
                line, file = int(place.group(1)) - 1, place.group(2)
            elif re.match(r"#\s*pragma\s+METAL\b", t):
                tokens[-1].out = ""
        else:
            line += t.count("\n")
    return tokens


def preprocess(source, name, cpp):
    """Macros expanded, metal_stdlib left out (it is put back when compiling)."""
    # The two lines are one again in what comes out, so line numbers hold.
    text = re.sub(r"^[ \t]*#[ \t]*include[ \t]*<metal_stdlib>[^\n]*", "", source,
                  flags=re.M)
    run = subprocess.run(
        [cpp, "-E", "-x", "c++", "-std=c++17", "-undef", "-nostdinc", "-nostdinc++",
         "-D__METAL_VERSION__=300", "-D__METAL__=1", "-"],
        input=f'#line 1 "{name}"\n{text}', capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise ShaderError(run.stderr.rstrip())
    sys.stderr.write(run.stderr)
    return run.stdout


class Shader:
    """The significant tokens t[0..n), and what was found among them."""

    def __init__(self, text, name, target):
        self.target = target
        self.all = tokenize(text, name)
        self.t = [x for x in self.all if x.kind not in ("space", "marker")]
        self.kernels = {}  # by function name
        # (entry name, kernel, template arguments, token), then what find_collectives() says
        self.entries = []
        self.calls = {}  # function or struct name -> names in its body
        self.check_words()
        self.check_pointers()
        self.read()
        self.check_entries()
        self.find_collectives()

    # ---- helpers over tokens ----
    def text(self, i):
        return self.t[i].text if 0 <= i < len(self.t) else ""

    def close(self, i):
        """Index of the bracket that closes the one at i."""
        pairs = {"(": ")", "{": "}", "[": "]"}
        stack = []
        for j in range(i, len(self.t)):
            x = self.t[j].text
            if x in pairs:
                stack.append(pairs[x])
            elif stack and x == stack[-1]:
                stack.pop()
                if not stack:
                    return j
            elif x in pairs.values():
                self.t[j].fail(f"'{x}' closes nothing")
        self.t[i].fail(f"'{self.text(i)}' is never closed")

    def close_angle(self, i):
        depth = 0
        j = i
        while j < len(self.t):
            x = self.text(j)
            if x in "([":
                j = self.close(j)
            elif x == "<":
                depth += 1
            elif x == ">":
                depth -= 1
                if depth == 0:
                    return j
            elif x in (";", "{"):
                break
            j += 1
        self.t[i].fail("'<' is never closed")

    def is_attribute(self, i):
        return self.text(i) == "[" and self.text(i + 1) == "["

    def attributes(self, begin, end):
        """{name: (arguments, token)} of the [[ ]] in [begin, end), which are blanked."""
        found, i = {}, begin
        while i < end:
            if not self.is_attribute(i):
                i += 1
                continue
            stop = self.close(i)
            j = i + 2
            while j < stop - 1:
                token, name, args = self.t[j], self.text(j), None
                while self.text(j + 1) == "::":
                    j += 2
                    name += "::" + self.text(j)
                if self.text(j + 1) == "(":
                    e = self.close(j + 1)
                    args = self.t[j + 2:e]
                    j = e
                if name in found:
                    token.fail(f"[[{name}]] twice")
                found[name] = (args, token)
                j += 1
                if self.text(j) == ",":
                    j += 1
            self.blank(i, stop + 1)
            i = stop + 1
        return found

    def blank(self, begin, end):
        for x in self.t[begin:end]:
            x.out = ""

    def source(self, begin, end):
        return " ".join(x.out for x in self.t[begin:end] if x.out)

    def number(self, attribute, name):
        args, token = attribute
        if not args or len(args) != 1 or not re.fullmatch(r"\d+u?", args[0].text):
            token.fail(f"[[{name}(n)]] needs a number")
        return int(args[0].text.rstrip("u"))

    # ---- the whole source ----
    def check_words(self):
        for i, x in enumerate(self.t):
            if x.kind == "name" and x.text in FORBIDDEN:
                x.fail(FORBIDDEN[x.text])
            if x.kind == "name" and x.text == "long" and self.text(i + 1) == "long":
                x.fail("MSL has no long long")
            if x.kind == "name" and x.text.startswith(("mtl_", "MTL_")):
                x.fail("names that begin with mtl_ belong to the tools")
            if x.kind == "name" and VECTOR.fullmatch(x.text) and self.text(i + 1) == "(":
                x.out = f"::metal::detail::make<{x.text}>"
            if x.kind == "number" and is_double(x.text):
                x.fail(f"{x.text} is a double: write {x.text}f")
            if x.kind == "name" and x.text == "function_constant":
                x.fail("function constants are not used: instantiate a template")

    def check_pointers(self):
        """Every pointer and reference names the address space it points into: in
        parameters, declarations and casts. All this goes by the look of the tokens: a
        row of names and then * or &, where an expression cannot stand."""
        for i, x in enumerate(self.t):
            if x.text not in "(,;{}" or self.text(i + 1) in ("return", "else"):
                continue
            j, words = i + 1, []
            while j < len(self.t):
                if self.t[j].kind == "name":
                    words.append(self.text(j))
                elif self.text(j) == "<" and words and self.is_template_list(j):
                    j = self.close_angle(j)
                elif self.text(j) != "::":
                    break
                j += 1
            stars = 0
            while self.text(j) in ("*", "&", "&&", "const"):
                stars += self.text(j) != "const"
                j += 1
            if not words or not stars or any(w in SPACES for w in words):
                continue
            cast = x.text == "(" and self.text(j) == ")"
            named = self.t[j].kind == "name" and self.text(j + 1) in ("=", ";", ",", ")", "[")
            if cast or named and self.declares(i, words, j):
                self.t[j - 1].fail("a pointer or reference without an address space "
                                   "(device, constant, threadgroup or thread)")

    def is_template_list(self, i):
        """Whether the < at i opens template arguments: a > comes before the end of what
        could be one."""
        for j in range(i + 1, min(i + 40, len(self.t))):
            if self.text(j) == ">":
                return True
            if self.text(j) in ("(", ")", ";", "{", "}", "&&", "||"):
                return False
        return False

    def declares(self, i, words, j):
        """Whether `words * name` after token i is a declaration, not a product."""
        if self.text(i) in (";", "{", "}"):
            return self.text(j + 1) in ("=", ";", ",", "[")
        known = {"const", "volatile", "auto", "void", "bool", "char", "uchar", "short",
                 "ushort", "int", "uint", "long", "ulong", "unsigned", "signed", "float",
                 "half", "size_t", "struct"}
        return len(words) > 1 or words[0] in known or \
            bool(re.fullmatch(r"(u?int(8|16|32|64)_t|(u?(char|short|int)|half|float|bool)"
                              r"[234]|[A-Z]\w*_args|mnt_\w+_args)", words[0]))

    def read(self):
        i, start, template, pre = 0, 0, None, {}
        while i < len(self.t):
            x = self.text(i)
            if self.is_attribute(i):
                stop = self.close(i)
                pre.update(self.attributes(i, stop + 1))
                i = stop + 1
            elif x == "template":
                template = (i, self.close_angle(i + 1)) if self.text(i + 1) == "<" \
                    else (i, None)
                i = template[1] + 1 if template[1] else i + 1
            elif x == "kernel" and template and template[1] is None:
                i = self.instantiation(i, template[0], pre)
                start, template, pre = i, None, {}
            elif x == "kernel":
                i = self.kernel(i, template, pre)
                start, template, pre = i, None, {}
            elif x in ("(", "["):
                i = self.close(i) + 1
            elif x == "{":
                if "namespace" in (self.text(i - 1), self.text(i - 2)):
                    i += 1
                else:
                    end = self.close(i)
                    self.definition(start, i, end)
                    i = end + 1
                start, template = i, None
                self.no_attributes(pre)
                pre = {}
            elif x in (";", "}"):
                i += 1
                start, template = i, None
                self.no_attributes(pre)
                pre = {}
            else:
                if x == "threadgroup" and start == i and not self.declares_pointer(i):
                    self.t[i].fail("a threadgroup variable outside a kernel")
                i += 1

    def no_attributes(self, pre):
        for name, (_, token) in pre.items():
            token.fail(f"[[{name}]] is not known here")

    def declares_pointer(self, i):
        while self.text(i) not in (";", "=", "{", "(", ""):
            if self.text(i) in ("*", "&"):
                return True
            i += 1
        return self.text(i) in ("(", "{")  # a function, or a struct

    def definition(self, start, brace, end):
        """A function or a struct: who calls whom, by names."""
        names = [i for i in range(start, brace) if self.text(i) == "("]
        name = self.text(names[0] - 1) if names else None
        for i in range(start, brace):
            if self.text(i) in ("struct", "class", "union"):
                name = self.text(i + 1)
                break
        if self.text(brace - 1) == "=" or name is None:
            return
        body = {x.text for x in self.t[brace:end] if x.kind == "name"}
        self.calls.setdefault(name, set()).update(body)
        for i in range(brace, end):
            if self.is_attribute(i):
                self.t[i].fail("an attribute that is not known here")
            if self.text(i) == "threadgroup" and self.text(i - 1) in ";{}" \
                    and not self.declares_pointer(i):
                self.t[i].fail("a threadgroup variable outside a kernel")

    # ---- a kernel ----
    def kernel(self, i, template, pre):
        token = self.t[i]
        token.out = "MTL_KERNEL"
        if self.text(i + 1) != "void":
            token.fail("a kernel returns void")
        name, k = self.text(i + 2), i + 3
        if self.text(k) != "(":
            token.fail(f"kernel {name}: parameters expected")
        if name in self.kernels:
            token.fail(f"kernel {name} is defined twice")
        for a in pre:
            if a != "max_total_threads_per_threadgroup":
                pre[a][1].fail(f"[[{a}]] is not known on a kernel")
        end = self.close(k)
        params = self.parameters(name, k + 1, end)
        if self.text(end + 1) != "{":
            self.t[end].fail(f"kernel {name}: a body expected")
        stop = self.close(end + 1)
        most = pre.get("max_total_threads_per_threadgroup")
        kernel = {
            "name": name, "file": token.file, "line": token.line, "params": params,
            "template": self.source(template[0], template[1] + 1) if template else "",
            "max_threads": self.number(most, "max_total_threads_per_threadgroup")
            if most else 0,
            "words": {x.text for x in self.t[end + 1:stop] if x.kind == "name"},
            "arrays": [], "layout": [], "consts": {}, "token": token,
        }
        if self.target == "host":
            self.t[k].out = "(__attribute__((unused)) mtl_context mtl_c" + \
                (", " if end > k + 1 else "")
        self.body(kernel, end + 1, stop)
        if kernel["arrays"] and self.target == "host":
            self.t[stop].out += self.layout(kernel, self.t[stop])
        self.kernels[name] = kernel
        if not template:
            self.entries.append((name, kernel, "", token))
        return stop + 1

    def parameters(self, kernel, begin, end):
        params, i = [], begin
        while i < end:
            j = i
            while j < end and self.text(j) != ",":
                if self.text(j) in ("(", "["):
                    j = self.close(j)
                elif self.text(j) == "<":
                    j = self.close_angle(j)
                j += 1
            params.append(self.parameter(kernel, i, j))
            i = j + 1
        taken = {}
        for p in params:
            if p["kind"] != "builtin" and p["index"] in taken:
                p["token"].fail(f"kernel {kernel}: {p['name']} and {taken[p['index']]} "
                                f"are both at buffer index {p['index']}")
            if p["kind"] != "builtin":
                taken[p["index"]] = p["name"]
        return params

    def parameter(self, kernel, begin, end):
        token = self.t[begin]
        found = self.attributes(begin, end)
        words = [x.text for x in self.t[begin:end] if x.out]
        name = words[-1]
        what = f"kernel {kernel}: parameter {name}"
        if len(found) != 1:
            token.fail(f"{what} needs one attribute, has "
                       + (", ".join(found) if found else "none"))
        attribute = next(iter(found))
        p = {"name": name, "token": token, "line": token.line, "index": None,
             "writable": "const" not in words and "constant" not in words}
        spaces = [w for w in words if w in SPACES]
        pointer, reference = "*" in words, "&" in words
        if words.count("*") > 1:
            token.fail(f"{what}: a pointer to pointers")
        if attribute == "buffer":
            p["index"] = self.number(found["buffer"], "buffer")
            if p["index"] > 30:
                token.fail(f"{what}: buffer indices end at 30")
            if len(spaces) != 1 or spaces[0] not in ("device", "constant"):
                token.fail(f"{what} needs the address space device or constant")
            if pointer == reference:
                token.fail(f"{what} is neither a pointer nor a reference")
            p["kind"] = "pointer" if pointer else "reference"
        elif attribute in BUILTINS:
            if words[:-1] not in (["uint"], ["const", "uint"]):
                token.fail(f"{what}: [[{attribute}]] is a uint here")
            p["kind"], p["builtin"] = "builtin", attribute
        else:
            token.fail(f"{what}: [[{attribute}]] is not known")
        return p

    def body(self, kernel, begin, end):
        """threadgroup variables, which stand in the outermost block; constexprs that
        their dimensions may need."""
        depth, i = 0, begin
        while i < end:
            x = self.text(i)
            starts = self.text(i - 1) in (";", "{", "}")
            if self.is_attribute(i):
                self.t[i].fail("an attribute that is not known here")
            if x in ("{", "("):
                depth += 1
            elif x in ("}", ")"):
                depth -= 1
            elif starts and x == "static" or x == "static" and depth >= 1:
                self.t[i].fail("a static variable in a function")
            elif starts and x in ("threadgroup", "alignas"):
                i = self.variable(kernel, i, depth)
                continue
            elif starts and depth == 1 and x in ("constexpr", "using", "typedef",
                                                 "enum", "static_assert"):
                stop = i
                while self.text(stop) != ";":
                    stop = self.close(stop) if self.text(stop) in "({[" else stop
                    stop += 1
                kernel["layout"].append(self.source(i, stop + 1))
                i = stop
            elif starts and depth == 1 and x == "const":
                stop = next(j for j in range(i, end) if self.text(j) in "=;([")
                if self.text(stop) == "=":
                    semicolon = next(j for j in range(stop, end)
                                     if self.text(j) == ";")
                    kernel["consts"][self.text(stop - 1)] = self.t[i:semicolon + 1]
                i = stop
            i += 1

    def variable(self, kernel, i, depth):
        begin, alignment = i, "0"
        if self.text(i) == "alignas":
            e = self.close(i + 1)
            alignment = self.source(i + 2, e)
            i = e + 1
            if self.text(i) != "threadgroup":
                return i
        stop = i
        pointer = False
        while self.text(stop) != ";":
            if self.text(stop) in ("=", "{"):
                break
            pointer = pointer or self.text(stop) in ("*", "&")
            stop = self.close(stop) if self.text(stop) in "([" else stop
            stop += 1
        if pointer:  # a pointer into threadgroup memory, a thread's own variable
            return i + 1
        if self.text(stop) != ";":
            self.t[i].fail("a threadgroup variable with an initialiser")
        if depth != 1:
            self.t[i].fail("a threadgroup variable in a nested block")
        j = i + 1
        if self.text(j) == "alignas":
            e = self.close(j + 1)
            alignment = self.source(j + 2, e)
            self.blank(j, e + 1)
            j = e + 1
        type_end = j
        while self.text(type_end + 1) not in (",", ";", "["):
            if self.text(type_end) == "<":
                type_end = self.close_angle(type_end)
                if self.text(type_end + 1) in (",", ";", "["):
                    break
            type_end += 1
            if self.text(type_end) == "<":
                type_end = self.close_angle(type_end)
        kind = self.source(j, type_end)
        declared, at = [], type_end
        while at < stop:
            name, k = self.text(at), at + 1
            while self.text(k) == "[":
                k = self.close(k) + 1
            if self.t[at].kind != "name" or self.text(k) not in (",", ";") or not kind:
                self.t[i].fail("a threadgroup variable of a form that is not known")
            declared.append((name, self.source(at + 1, k), self.t[at].line))
            if self.target == "host":
                self.need_consts(kernel, self.t[at + 1:k])
            at = k + 1
        self.declare(kernel, begin, i, stop, kind, declared, alignment)
        return stop + 1

    def need_consts(self, kernel, tokens):
        """Constants of the body that the dimensions name, into the layout."""
        for x in tokens:
            found = kernel["consts"].pop(x.text, None)
            if found:
                self.need_consts(kernel, found)
                kernel["layout"].append(" ".join(y.out for y in found))

    def declare(self, kernel, begin, at, stop, kind, declared, alignment):
        if self.target == "nvptx":
            self.t[begin].out = "static " + self.t[begin].out
            if alignment != "0" and begin == at:
                self.t[begin].out = f"static alignas({alignment}) threadgroup"
            kernel["arrays"] += [d[0] for d in declared]
            return
        text = ""
        for name, dims, line in declared:
            before = kernel["arrays"][-1] if kernel["arrays"] else None
            end = f"mtl_e_{before}" if before else "0ul"
            place = (f"typedef threadgroup {kind} mtl_t_{name}{dims}; "
                     f"__attribute__((unused)) constexpr unsigned long mtl_o_{name} = "
                     f"mtl_place({end}, alignof(mtl_t_{name}), {alignment}), "
                     f"mtl_e_{name} = mtl_o_{name} + sizeof(mtl_t_{name}); ")
            text += place + (f"mtl_t_{name} &{name} = "
                             f"*(mtl_t_{name} *)(mtl_c.memory + mtl_o_{name}); ")
            kernel["layout"].append(
                place + f'mtl_a[mtl_n++] = {{ "{name}", mtl_o_{name}, '
                f"sizeof(mtl_t_{name}), {line} }};")
            kernel["arrays"].append(name)
        self.blank(begin, stop + 1)
        self.t[begin].out = text

    def layout(self, kernel, last):
        """A function that lists the threadgroup variables."""
        if len(kernel["arrays"]) > 32:
            kernel["token"].fail("more than 32 threadgroup variables")
        return (f' {kernel["template"]} MTL_UNWATCHED static unsigned '
                f'mtl_layout_{kernel["name"]}(sim_array *mtl_a) {{ unsigned mtl_n = 0; '
                + " ".join(kernel["layout"]) + " return mtl_n; }"
                f'\n#line {last.line} "{last.file}"\n')

    # ---- instantiations ----
    def instantiation(self, i, begin, pre):
        token = self.t[i]
        unknown = [a for a in pre if a != "host_name"]
        if unknown:
            pre[unknown[0]][1].fail(f"[[{unknown[0]}]] is not known here")
        if "host_name" not in pre:
            token.fail("an instantiation without [[host_name(\"...\")]]")
        args, where = pre["host_name"]
        if not args or any(x.kind != "string" for x in args):
            where.fail("host_name needs a string")
        entry = "".join(x.text[1:-1] for x in args)
        if not re.fullmatch(r"[A-Za-z_]\w*", entry):
            where.fail(f'host_name "{entry}" is no identifier')
        j = i + 1
        by_decltype = self.text(j) == "decltype"
        if by_decltype:
            j = self.close(j + 1)
        elif self.text(j) != "void":
            token.fail("a kernel returns void")
        name = self.text(j + 1)
        if name not in self.kernels:
            token.fail(f"{name} is no kernel above this line")
        if self.text(j + 2) != "<":
            token.fail(f"{name}: template arguments expected")
        stop = self.close_angle(j + 2)
        arguments = self.source(j + 2, stop + 1)
        self.entries.append((entry, self.kernels[name], arguments, token))
        end = stop
        check = ""
        if not by_decltype:
            end = self.close(stop + 1)
            self.attributes(stop + 2, end)
            types = self.source(stop + 2, end)
            hidden = "mtl_context" if self.target == "host" else ""
            types = ", ".join(x for x in (hidden, types) if x)
            check = (f"static_assert(mtl_same<decltype({name}{arguments}), "
                     f'void({types})>, "the parameters are not those of {name}")')
        if self.text(end + 1) != ";":
            self.t[end].fail("';' expected")
        self.blank(begin, end + 1)
        token.out = check
        return end + 2

    def check_entries(self):
        seen = {}
        for entry, _, _, token in self.entries:
            if entry in seen:
                token.fail(f'"{entry}" is an entry point already, in line {seen[entry]}')
            seen[entry] = token.line
        used = {id(e[1]) for e in self.entries}
        for kernel in self.kernels.values():
            if id(kernel) not in used:
                kernel["token"].fail(f"template {kernel['name']} is never instantiated")

    def find_collectives(self):
        """Which entries reach a barrier or a simdgroup function (1), or know simdgroups at
        all (2), going by names: those in the kernel's body and in the template arguments,
        where a struct stands for all that its functions reach."""
        def meets(words, names):
            return any(w in names or w.startswith(("simd_", "simdgroup_")) for w in words)

        def callers(names):
            while True:
                more = {n for n, words in self.calls.items() if n not in names
                        and meets(words, names)}
                if not more:
                    return names
                names = names | more
        reach, simd = callers(COLLECTIVE), callers({"simdgroup_barrier"})

        def collective(kernel, arguments):
            words = kernel["words"] | set(re.findall(r"[A-Za-z_]\w*", arguments))
            knows = meets(words, simd) or any("simdgroup" in p.get("builtin", "")
                                              for p in kernel["params"])
            return int(meets(words, reach)) + 2 * int(knows)
        self.entries = [e + (collective(e[1], e[2]),) for e in self.entries]

    # ---- what comes out ----
    def emit(self, digest):
        text = "".join(x.out for x in self.all)
        entries = (self.emit_host(digest) if self.target == "host"
                   else self.emit_nvptx(digest))
        return ("/* Made by shaders/tools/rewrite.py. */\n#include <metal_stdlib>\n"
                + text + '\n#line 1 "entry-points"\n' + entries)

    def emit_host(self, digest):
        out, rows = [], []
        for number, (entry, k, arguments, _, collective) in enumerate(self.entries):
            f = f"{k['name']}{arguments}"
            args, table = ["mtl_context{ (char *)memory }"], []
            for n, p in enumerate(k["params"], 1):
                kind = f"mtl_bound<mtl_parameter<{n}, F>::type>"
                if p["kind"] == "builtin":
                    args.append(BUILTINS[p["builtin"]][0])
                    continue
                args.append(f"{kind}::get(call->buffer[{p['index']}])")
                table.append(f'{{ "{p["name"]}", {p["index"]}, {kind}::bytes, '
                             f'{kind}::alignment, {int(p["kind"] == "reference")}, '
                             f'{int(p["writable"])}, {p["line"]} }},')
            loop = "MTL_ONE_THREAD" if collective & 1 else "MTL_EACH_THREAD"
            call = ", ".join(args)
            out.append(
                f"namespace mtl_{number} {{\nusing F = decltype({f});\n"
                f"static const sim_param params[] = {{ {' '.join(table)} {{}} }};\n"
                "static void run(const sim_call *call, sim_view *view, void *memory, "
                "unsigned group, unsigned first, unsigned count, "
                "const unsigned *order) {\n"
                f"(void)call, (void)view, (void)memory, (void)group;\n"
                f"{loop}(({f}({call})))\n;}}\n}}")
            layout = f"mtl_layout_{f}" if k["arrays"] else "nullptr"
            rows.append(f'{{ "{entry}", "{k["file"]}", {k["line"]}, '
                        f'{collective}, {k["max_threads"]}, {len(table)}, '
                        f"mtl_{number}::params, mtl_{number}::run, {layout} }},")
        watched = "!SIM_IMAGE_HOOKS ? nullptr : "
        out.append(
            "static const sim_entry mtl_entries[] = {\n" + "\n".join(rows) + "\n{} };\n"
            'extern "C" __attribute__((visibility("default"))) const sim_library '
            "mnt_sim_library = {\n"
            f'SIM_ABI_VERSION, SIM_IMAGE_KIND, "{digest}", {len(rows)}, mtl_entries, '
            f"metalsim_bind, {watched}metalsim_memory, {watched}metalsim_dispatch }};\n")
        return "\n".join(out)

    def emit_nvptx(self, digest):
        out = [f"/* source {digest} */"]
        for number, (entry, k, arguments, _, _) in enumerate(self.entries):
            f = f"{k['name']}{arguments}"
            bound, args = [], []
            for n, p in enumerate(k["params"]):
                if p["kind"] == "builtin":
                    args.append(BUILTINS[p["builtin"]][1])
                    continue
                kind = f"mtl_entry_parameter<mtl_parameter<{n}, mtl_f{number}>::type>"
                bound.append((p["index"], f"{kind} b{p['index']}"))
                args.append(f"b{p['index']}")
            bound = ", ".join(x for _, x in sorted(bound))
            out.append(f"using mtl_f{number} = decltype({f});\n"
                       f"MTL_ENTRY({entry}, {k['max_threads']})({bound})\n"
                       f"{{ {f}({', '.join(args)}); }}")
        return "\n".join(out) + "\n"

    def table(self, digest):
        return {"source": digest, "entries": [
            {"name": entry, "kernel": k["name"], "arguments": arguments,
             "file": k["file"], "line": k["line"], "collective": collective,
             "max_threads": k["max_threads"], "threadgroup": k["arrays"],
             "params": [{x: p[x] for x in ("name", "kind", "index", "writable", "line")}
                        | ({"builtin": p["builtin"]} if "builtin" in p else {})
                        for p in k["params"]]}
            for entry, k, arguments, _, collective in self.entries]}


def is_double(text):
    t = text.lower()
    if t.startswith("0x"):
        return "p" in t and not t.endswith("f") and not t.endswith("h")
    return ("." in t or "e" in t) and not t.endswith(("f", "h"))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--target", choices=("host", "nvptx"), default="host")
    ap.add_argument("--cpp", default="clang++-19")
    ap.add_argument("-o", default="-")
    ap.add_argument("--table")
    ap.add_argument("--name", default="shaders")
    ap.add_argument("source")
    a = ap.parse_args()
    with open(a.source, encoding="utf-8") as f:
        source = f.read()
    data = source.encode()
    digest = f"{zlib.crc32(data):08x}{len(data):08x}"
    try:
        shader = Shader(preprocess(source, a.name, a.cpp), a.name, a.target)
        text = shader.emit(digest)
    except ShaderError as e:
        sys.exit(str(e))
    if a.o == "-":
        sys.stdout.write(text)
    else:
        with open(a.o, "w", encoding="utf-8") as out:
            out.write(text)
    if a.table:
        with open(a.table, "w", encoding="utf-8") as out:
            json.dump(shader.table(digest), out, indent=1)


if __name__ == "__main__":
    main()
