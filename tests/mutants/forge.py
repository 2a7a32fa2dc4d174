# SPDX-License-Identifier: MIT
"""Building mutants: the build tree's own commands, for the mutated files only; every
other object is the build tree's. An overlay of links to the sources holds the mutated
files, so that includes by relative path find them. Of shaders, the mutated families
become an image in which their kernels come before those of the build tree's image."""
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from mutants import ROOT, ListError

FOLDERS = ("backends", "lib", "include", "shaders")
# Whose objects are linked: the library has every backend of the build tree in it.
LIBRARY, PLUGIN = ("lib/", "backends/"), ("backends/cpu/",)


class Tree:
    """A build tree, as far as mutants need it."""

    def __init__(self, build):
        self.build = Path(build).resolve()
        database = self.build / "compile_commands.json"
        if not database.is_file():
            raise ListError(f"{self.build} is no build tree with compile_commands.json")
        self.commands = {}  # file -> {isa or "": (arguments, object)}
        for c in json.loads(database.read_text()):
            path = Path(c["file"]).resolve()
            if ROOT not in path.parents:
                continue
            args = c.get("arguments") or shlex.split(c["command"])
            out = Path(c["directory"]).resolve() / args[args.index("-o") + 1]
            isa = next((a[10:] for a in args if a.startswith("-DCPU_ISA=")), "")
            name = str(path.relative_to(ROOT))
            if self.build / "tests" in out.parents and not name.startswith("tests/"):
                continue # a test's own copy of a source
            self.commands.setdefault(name, {})[isa] = (args, out)
        self.soname = os.readlink(self.build / "libmnt.so")
        self.entry = next(o for f, c in self.commands.items()
                          if f == "tests/mutants/plugin.c" for _, o in c.values())
        self.device = self.device_words()

    def device_words(self):
        """{name: words} of what tests/mutants/CMakeLists.txt says about the simulated
        device; None in a tree without one."""
        path = self.build / "tests/mutants/device.txt"
        if not path.is_file():
            return None
        lines = (line.split(";") for line in path.read_text().splitlines())
        words = {line[0]: line[1:] for line in lines}
        folder = self.build / "backends/metal/objects"
        for path in sorted((ROOT / "backends/metal").glob("*.m")):
            name = str(path.relative_to(ROOT))
            self.commands[name] = {"": (words["objc"], folder / f"{path.name}.o")}
        return words

    def best_isa(self):
        """The set of kernels that the backend chooses here."""
        compiled = self.commands["backends/cpu/table.c"]
        try:
            flags = set(Path("/proc/cpuinfo").read_text().split())
        except OSError:
            flags = set()
        needs = {"avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
                 "avx2": {"avx2", "fma", "f16c"}, "neon": set()}
        for isa, need in needs.items():
            if isa in compiled and need <= flags:
                return isa
        return "generic"

    def objects(self, *folders):
        return {o: str(o) for f, c in self.commands.items()
                if f.startswith(folders) for _, o in c.values()}


class Slot:
    """The overlay and objects of one job; one mutant at a time."""

    def __init__(self, tree, folder):
        self.tree, self.folder = tree, Path(folder)
        self.sources = self.folder / "src"
        self.bases = {} # of images, by kind
        for top in FOLDERS:
            for path in (ROOT / top).rglob("*"):
                if path.is_file():
                    self.link(path.relative_to(ROOT))

    def link(self, name):
        to = self.sources / name
        to.parent.mkdir(parents=True, exist_ok=True)
        to.unlink(missing_ok=True)
        to.symlink_to(ROOT / name)

    def write(self, texts):
        for name, text in texts.items():
            (self.sources / name).unlink()
            (self.sources / name).write_text(text)

    def restore(self, texts):
        for name in texts:
            self.link(name)

    def compile(self, file, isa, flags, out):
        args, object_file = self.tree.commands[file][isa]
        new, skip = [args[0], f"-I{self.sources}/include"], False
        for arg in args[1:]:
            if skip:
                skip = False
            elif arg in ("-o", "-MF", "-MT"):
                skip = True
            elif arg.startswith("-W") or arg in ("-c", "-MD", str(ROOT / file)):
                pass
            elif arg.startswith("-O") and not flags:
                pass # no level changes a bit, and mutants compile faster without
            else:
                new.append(arg)
        new += (flags or ["-O1"]) + ["-w", "-c", str(self.sources / file), "-o", str(out)]
        done = subprocess.run(new, capture_output=True, text=True)
        if done.returncode:
            raise ListError(f"{file} does not compile:\n{done.stderr[:2000]}")
        return object_file

    def build(self, m, texts, isa):
        """The plugin, the library or the image, with the mutant in it."""
        self.write(texts)
        if m.in_image:
            try:
                return self.image(m)
            except ListError as e:
                raise ListError(f"{m.where}: {m.id}: {e}") from None
            finally:
                self.restore(texts)
        try:
            objects = self.tree.objects(*(LIBRARY if m.in_library else PLUGIN))
            for i, file in enumerate(m.compile):
                if file not in self.tree.commands:
                    raise ListError(f"{m.where}: {m.id}: {file} is not built")
                sets = self.tree.commands[file]
                mutated = self.folder / f"{i}.o"
                try:
                    was = self.compile(file, isa if isa in sets else "", m.flags, mutated)
                except ListError as e:
                    raise ListError(f"{m.where}: {m.id}: {e}") from None
                objects[was] = str(mutated)
        finally:
            self.restore(texts)
        if m.image == "source":
            objects = {o: n for o, n in objects.items() if o.name != "library.S.o"}
            objects["source"] = self.from_source()
        return self.join(list(objects.values()), m.in_library)

    def from_source(self):
        """library.S without an embedded image."""
        return str(next(self.tree.build.rglob("metal_from_source.dir/**/library.S.o")))

    # ---- images of shaders ----

    def do(self, *words):
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
        if done.returncode:
            raise ListError(f"{Path(words[0]).name} {Path(words[1]).name}:\n"
                            f"{done.stderr[:2000]}")

    def image_base(self, name, compiler):
        """The tree's own kernels under another name, what joins them with the mutated
        ones, and the runtime."""
        if name not in self.bases:
            theirs, runtime = self.tree.device[f"{name}.OBJECTS"]
            ours, joint = self.folder / f"{name}.o", self.folder / "joint.o"
            self.do("objcopy", "--redefine-sym", "mnt_sim_library=mnt_sim_base", theirs,
                    ours)
            self.do(compiler.replace("++", ""), "-I", ROOT / "tests/metalsim/shim",
                    "-fPIC", "-c", ROOT / "tests/mutants/image.c", "-o", joint)
            self.bases[name] = [joint, ours, runtime]
        return self.bases[name]

    def image(self, m):
        name = "libmnt_race" if m.image == "race" else "libmnt"
        compiler, *flags = self.tree.device[f"{name}.COMPILE"]
        flags = [f for f in flags if not f.startswith("-W") and f not in ("-O2", "-g")]
        flat, cpp, made = (self.folder / f"image{s}" for s in (".metal", ".cpp", ".o"))
        tools, out = ROOT / "shaders/tools", self.folder / "mutant.metallib"
        self.do(sys.executable, tools / "flatten", "--root", self.sources, "-I",
                self.sources / "include", "-I", self.sources / "shaders", "-o", flat,
                *(self.sources / f for f in m.compile))
        self.do(sys.executable, tools / "rewrite.py", "--target", "host", "--cpp",
                compiler, "-o", cpp, flat)
        self.do(compiler, *flags, "-O1", "-w", "-Dmnt_sim_library=mnt_sim_mutated", "-c",
                cpp, "-o", made)
        out.unlink(missing_ok=True)
        # Of what both have, the first is taken.
        self.do("cc", "-shared", "-Wl,-z,muldefs,-z,defs", made, *self.image_base(name, compiler),
                "-o", out)
        self.do(sys.executable, ROOT / "tests/metalsim/tools/seal", out)
        return out

    # ---- plugins and libraries ----

    def join(self, objects, library):
        cc = next(iter(self.tree.commands["backends/cpu/cpu.c"].values()))[0][0]
        if library:
            out = self.folder / self.tree.soname
            # Nothing may be missing: a library that does not load would count as a kill.
            args = ["-Wl,-z,defs", "-Wl,-soname," + self.tree.soname, "-lz", "-ljansson",
                    "-ldl"]
            if self.tree.device:
                objects = objects + self.tree.device["libraries"] + ["-lz"]
        else:
            out = self.folder / "mutant.so"
            objects = [str(self.tree.entry)] + objects
            args = []
        out.unlink(missing_ok=True)
        done = subprocess.run([cc, "-shared", "-pthread", "-o", str(out)] + objects +
                              args + ["-lm"], capture_output=True, text=True)
        if done.returncode:
            raise ListError(f"linking failed:\n{done.stderr[:2000]}")
        return out

    def base(self):
        """Plugin and library without any mutation: what the controls run."""
        made = self.join(list(self.tree.objects(*PLUGIN).values()), False)
        plugin = Path(shutil.move(made, self.folder.parent / "base.so"))
        made = self.join(list(self.tree.objects(*LIBRARY).values()), True)
        folder = self.folder.parent / "base"
        folder.mkdir(exist_ok=True)
        return plugin, Path(shutil.move(made, folder / self.tree.soname))
