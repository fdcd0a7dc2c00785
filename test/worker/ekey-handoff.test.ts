import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { open, readFile, readdir, readlink } from "node:fs/promises"
import { join } from "node:path"
import { systemClock } from "../../src/base/clock.ts"
import { runChild } from "../../src/worker/child-process.ts"
import { EkeyHandoff, withEkeyHandoff } from "../../src/worker/ekey-handoff.ts"
import type { HandedEkey } from "../../src/worker/ekey-handoff.ts"
import { EkeyMask } from "../../src/worker/ekey-mask.ts"
import { requirePlatform } from "../support/requirements.ts"

const NEVER = new AbortController().signal
const PATH = "/usr/local/bin:/usr/bin:/bin"

/** Runs a shell script as the child; its output, unmasked, is what the child saw. */
async function shell(handed: HandedEkey, script: string): Promise<string[]> {
  const lines: string[] = []
  const { exitCode } = await runChild({
    program: "/bin/sh", args: ["-c", script], env: { PATH, ...handed.env }, extraStdio: handed.extraStdio,
    stdio: "log", signal: NEVER, clock: systemClock, onLine: (line) => { lines.push(line) },
  })
  assert.equal(exitCode, 0, lines.join("\n"))
  return lines
}

/** What anybody with `ps` sees of the child, and what the same user sees in its environment. */
const SEEN_FROM_OUTSIDE = "tr '\\0' ' ' < /proc/$$/cmdline; echo; tr '\\0' ' ' < /proc/$$/environ; echo"

async function filesThatHold(folder: string, text: string): Promise<string[]> {
  const holding: string[] = []
  for (const name of await readdir(folder)) {
    // Others come and go here, and not all of them may be read.
    const content = await readFile(join(folder, name), "latin1").catch(() => "")
    if (content.includes(text)) holding.push(name)
  }
  return holding
}

/** Open files of this process that have no name any more. */
async function namelessFiles(): Promise<string[]> {
  const links = await Promise.all((await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")))
  return links.filter((link) => /^\/dev\/shm\/\.[0-9a-f]{32} \(deleted\)$/.test(link))
}

describe("handing an ekey to a child", () => {
  let ekey: Buffer
  let text: string

  beforeEach(() => {
    ekey = randomBytes(32)
    text = ekey.toString("base64url")
  })

  describe("by file descriptor", () => {
    before(function () { requirePlatform(this, ["linux"], "the ekey is in a file in memory") })

    it("lets the child open it as /dev/fd/3 as often as it wants, without a line end", async () => {
      const lines = await withEkeyHandoff({ via: "fd" }, ekey, (handed) =>
        shell(handed, "cat /dev/fd/3; echo .; cat /dev/fd/$EKEY_FD; echo ."))
      assert.deepEqual(lines, [`${text}.`, `${text}.`])
    })

    it("keeps it out of the child's command line and environment", async () => {
      const seen = await withEkeyHandoff({ via: "fd" }, ekey, (handed) => shell(handed, SEEN_FROM_OUTSIDE))
      assert.match(seen.join("\n"), /EKEY_FD=3/)
      assert.equal(new EkeyMask(ekey).mask(seen.join("\n")), seen.join("\n"))
    })

    it("gives the child no way to write to it by that descriptor", async () => {
      await withEkeyHandoff({ via: "fd" }, ekey, async (handed) => {
        await shell(handed, "! (echo other >&3) 2>/dev/null")
        assert.deepEqual(await shell(handed, "cat /dev/fd/3; echo"), [text])
      })
    })

    it("has no name under which others find it, neither while the child runs nor after", async () => {
      await withEkeyHandoff({ via: "fd" }, ekey, async () => {
        assert.deepEqual(await filesThatHold("/dev/shm", text), [])
      })
      assert.deepEqual(await filesThatHold("/dev/shm", text), [])
    })

    it("overwrites it for whoever still has it open, and closes its own descriptors", async () => {
      const kept = await withEkeyHandoff({ via: "fd" }, ekey, async ({ extraStdio }) => {
        const handle = await open(`/dev/fd/${String(extraStdio[0])}`, "r")
        assert.equal((await namelessFiles()).length, 3)
        return handle
      })
      try {
        assert.equal((await kept.readFile("latin1")).includes(text.slice(0, 8)), false)
        assert.equal((await namelessFiles()).length, 1)
      } finally {
        await kept.close()
      }
    })

    it("cleans up when the run fails, and passes the failure on", async () => {
      const failure = new Error("no such luck")
      await assert.rejects(withEkeyHandoff({ via: "fd" }, ekey, () => Promise.reject(failure)), failure)
      assert.deepEqual(await namelessFiles(), [])
    })

    for (const via of [{ via: "fd" }, { via: "password-command", name: "X" }] as const) {
      for (const memoryFolder of ["/nonexistent", "/proc"]) {
        it(`refuses ${via.via} without a folder in memory (${memoryFolder}), and runs nothing`, async () => {
          let ran = false
          const run = (): Promise<void> => { ran = true; return Promise.resolve() }
          await assert.rejects(withEkeyHandoff(via, ekey, run, { memoryFolder }), { code: "ERR_CONFIG", message: /choose `handoff/ })
          assert.equal(ran, false)
        })
      }
    }
  })

  describe("by password command", () => {
    before(function () { requirePlatform(this, ["linux"], "the ekey is in a file in memory") })

    it("gives a command that prints it, also to a grandchild with none of the descriptors", async () => {
      const lines = await withEkeyHandoff({ via: "password-command", name: "RESTIC_PASSWORD_COMMAND" }, ekey, (handed) => {
        assert.deepEqual(handed.extraStdio, [])
        return shell(handed, "sh -c 'exec 3<&-; $RESTIC_PASSWORD_COMMAND; echo .; $RESTIC_PASSWORD_COMMAND; echo .'")
      })
      assert.deepEqual(lines, [`${text}.`, `${text}.`])
    })

    it("keeps it out of the child's command line and environment", async () => {
      const seen = await withEkeyHandoff({ via: "password-command", name: "P" }, ekey, (handed) => shell(handed, SEEN_FROM_OUTSIDE))
      assert.match(seen.join("\n"), /P=cat \/proc\/\d+\/fd\/\d+/)
      assert.equal(new EkeyMask(ekey).mask(seen.join("\n")), seen.join("\n"))
    })
  })

  describe("by environment variable", () => {
    it("sets the variable that was asked for, and nothing else", async () => {
      await withEkeyHandoff({ via: "environment", name: "RESTIC_PASSWORD" }, ekey, ({ env, extraStdio }) => {
        assert.deepEqual(env, { RESTIC_PASSWORD: text })
        assert.deepEqual(extraStdio, [])
        return Promise.resolve()
      })
    })

    it("needs no folder in memory", async () => {
      await withEkeyHandoff({ via: "environment", name: "P" }, ekey, () => Promise.resolve(), { memoryFolder: "/nonexistent" })
    })
  })

  it("leaves the caller's ekey as it was", async () => {
    const before = Buffer.from(ekey)
    await withEkeyHandoff({ via: "environment", name: "P" }, ekey, () => Promise.resolve())
    assert.deepEqual(ekey, before)
  })

  it("lends a mask that knows the ekey while the child runs, and forgets it afterwards", async () => {
    const kept = await withEkeyHandoff({ via: "environment", name: "P" }, ekey, ({ mask }) => {
      assert.equal(mask(`P=${text}`), "P=[ekey]")
      return Promise.resolve(mask)
    })
    assert.equal(kept(`P=${text}`), `P=${text}`)
  })

  describe("its config", () => {
    for (const [name, value] of [
      ["an unknown way", { via: "argv" }],
      ["a way that needs a name without one", { via: "environment" }],
      ["a name with a sign of equality", { via: "environment", name: "A=B" }],
      ["a name that begins with a digit", { via: "password-command", name: "1A" }],
      ["a name where none belongs", { via: "fd", name: "A" }],
    ] as const) {
      it(`refuses ${name}`, () => { assert.equal(EkeyHandoff.safeParse(value).success, false) })
    }
  })
})
