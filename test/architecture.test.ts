import assert from "node:assert/strict"
import { fileURLToPath } from "node:url"
import {
  arrowsPointDown, importsNameTheirFile, noBarrels, noCycles, oneFilePerVendor, oneIdeaPerFile, onlyBinReadsTheEnvironment,
} from "./support/architecture.ts"
import type { Rule } from "./support/architecture.ts"
import { parseSourceFile, readSourceFiles } from "./support/source-files.ts"
import type { SourceFile } from "./support/source-files.ts"

const ROOT = fileURLToPath(new URL("..", import.meta.url))

const RULES: readonly (readonly [string, Rule])[] = [
  ["imports down only, and no sibling", arrowsPointDown],
  ["has no cycle, types included", noCycles],
  ["knows each vendor's package in one file", oneFilePerVendor],
  ["writes every import out, with .ts or node:", importsNameTheirFile],
  ["has no index.ts", noBarrels],
  ["has no file over 400 lines", oneIdeaPerFile],
  ["reads the environment in bin alone", onlyBinReadsTheEnvironment],
]

describe("architecture of src", () => {
  const files = readSourceFiles(ROOT, "src")

  it("is read from the files that are there", () => {
    const clock = files.find(({ file }) => file === "src/base/clock.ts")
    assert.deepEqual(clock?.imports, ["node:timers/promises"])
    assert.ok(files.some(({ imports }) => imports.includes("../base/errors.ts")))
  })

  for (const [title, rule] of RULES) {
    it(title, () => {
      assert.deepEqual(rule(files), [])
    })
  }
})

describe("architecture rules", () => {
  it("find nothing in no files, and nothing in files that keep them", () => {
    const sound = [
      source("src/base/a.ts", ["./b.ts", "node:fs"]),
      source("src/base/b.ts", []),
      source("src/crypto/c.ts", ["../base/a.ts", "hpke"]),
      source("src/wire/d.ts", ["../crypto/c.ts", "../base/b.ts", "zod"]),
      source("src/kms/e.ts", ["../crypto/c.ts", "@aws-sdk/client-kms"]),
      source("src/connector/store/f.ts", ["../../wire/d.ts", "../../kms/e.ts", "zod"]),
      source("src/worker/g.ts", ["../wire/d.ts"]),
      source("src/cloud/storage/h.ts", ["kysely"]),
      source("src/cloud/storage/i.ts", ["kysely", "node:sqlite", "./h.ts"]),
      source("src/bin/j.ts", ["./k.ts", "../worker/g.ts", "../cloud/storage/i.ts", "commander"], { readsEnvironment: true }),
      source("src/bin/k.ts", ["commander", "../connector/store/f.ts"], { lines: 400 }),
    ]
    for (const [, rule] of RULES) {
      assert.deepEqual(rule([]), [])
      assert.deepEqual(rule(sound), [])
    }
  })

  const arrows: readonly (readonly [string, string])[] = [
    ["src/base/a.ts", "../crypto/b.ts"],
    ["src/base/a.ts", "../wire/b.ts"],
    ["src/crypto/a.ts", "../wire/b.ts"],
    ["src/crypto/a.ts", "../kms/b.ts"],
    ["src/wire/a.ts", "../kms/b.ts"],
    ["src/kms/a.ts", "../wire/b.ts"],
    ["src/wire/messages/a.ts", "../../worker/b.ts"],
    ["src/authority/a.ts", "../kms/b.ts"],
    ["src/worker/a.ts", "../kms/b.ts"],
    ["src/authority/a.ts", "../connector/b.ts"],
    ["src/connector/a.ts", "../cloud/b.ts"],
    ["src/cloud/a.ts", "../worker/b.ts"],
    ["src/worker/a.ts", "../connector/store/b.ts"],
    ["src/cloud/a.ts", "../bin/b.ts"],
    ["src/base/a.ts", "../bin/b.ts"],
    ["src/bin/a.ts", "../../test/support/b.ts"],
    ["src/base/a.ts", "../b.ts"],
    ["src/wire/a.ts", "../constructor/b.ts"],
  ]
  for (const [file, specifier] of arrows) {
    it(`refuse ${specifier} in ${file}`, () => {
      assert.equal(arrowsPointDown([source(file, [specifier])]).length, 1)
    })
  }

  it("refuse a file outside of the layers", () => {
    for (const file of ["src/main.ts", "src/helpers/a.ts"]) assert.equal(arrowsPointDown([source(file, [])]).length, 1)
  })

  it("name the files of a cycle, a file that imports itself included", () => {
    const files = [
      source("src/wire/a.ts", ["./b.ts"]),
      source("src/wire/b.ts", ["./rpc/c.ts"]),
      source("src/wire/rpc/c.ts", ["../b.ts"]),
      source("src/wire/d.ts", ["./d.ts"]),
    ]
    assert.deepEqual(noCycles(files), [
      "cycle: src/wire/b.ts -> src/wire/rpc/c.ts -> src/wire/b.ts",
      "cycle: src/wire/d.ts -> src/wire/d.ts",
    ])
  })

  it("refuse a second file that knows a vendor's package, by whatever entry", () => {
    const files = [
      source("src/crypto/x509.ts", ["node-forge", "node-forge"]),
      source("src/kms/aws.ts", ["@aws-sdk/client-kms"]),
      source("src/kms/other.ts", ["@aws-sdk/client-kms/errors", "@aws-sdk/types"]),
      source("src/authority/sign.ts", ["node-forge/lib/pki.js"]),
    ]
    assert.deepEqual(oneFilePerVendor(files), [
      "src/kms/other.ts: @aws-sdk/client-kms is known to src/kms/aws.ts already",
      "src/authority/sign.ts: node-forge is known to src/crypto/x509.ts already",
    ])
  })

  it("keep a vocabulary in its folder", () => {
    const files = [
      source("src/connector/a.ts", ["commander"]),
      source("src/wire/b.ts", ["yaml"]),
      source("src/cloud/c.ts", ["kysely"]),
    ]
    assert.equal(oneFilePerVendor(files).length, 3)
  })

  it("refuse imports without .ts, without node:, or that can't be read", () => {
    const files = [source("src/base/a.ts", ["./b", "./b.js", "../crypto", "fs/promises", null])]
    assert.equal(importsNameTheirFile(files).length, 5)
  })

  it("refuse an index.ts, a file of 401 lines, and the environment outside of bin", () => {
    assert.equal(noBarrels([source("src/wire/index.ts", [])]).length, 1)
    assert.equal(oneIdeaPerFile([source("src/wire/a.ts", [], { lines: 401 })]).length, 1)
    assert.equal(onlyBinReadsTheEnvironment([source("src/wire/a.ts", [], { readsEnvironment: true })]).length, 1)
  })
})

describe("source files", () => {
  it("show every way to import", () => {
    const { imports } = parse(`
      import "./effect.ts"
      import { a } from "./named.ts"
      import type { B } from "./type.ts"
      import * as c from "./namespace.ts"
      export { d } from "./export.ts"
      export type { E } from "./export-type.ts"
      export * from "./export-all.ts"
      export const f = await import("./dynamic.ts")
      export const g = () => { const h: import("./import-type.ts").H = require("./required.ts") }
      export const i = await import(\`./\${name}.ts\`)
      export const j = "import './text.ts'" // import "./comment.ts"
    `)
    assert.deepEqual(imports, [
      "./effect.ts", "./named.ts", "./type.ts", "./namespace.ts", "./export.ts", "./export-type.ts", "./export-all.ts",
      "./dynamic.ts", "./import-type.ts", "./required.ts", null,
    ])
  })

  const environment = [
    "process.env.HOME", "process.env[name]", 'process["argv"]', "process[key]", "globalThis.process.env",
    '(() => import("node:process"))', "(() => { const { env } = process })", "(() => { const { argv: words } = process })",
  ]
  for (const expression of environment) {
    it(`show that ${expression} reads the environment`, () => {
      assert.equal(parse(`export const x = ${expression}`).readsEnvironment, true)
    })
  }

  it("do not take other uses of process, or other things of that name, for the environment", () => {
    const { readsEnvironment } = parse("const { platform } = process; export const x = [process.pid, options.env, tls.argv] // process.env")
    assert.equal(readsEnvironment, false)
  })

  it("have as many lines as an editor shows", () => {
    assert.deepEqual([parse("a\nb\n").lines, parse("a\nb").lines], [2, 2])
  })
})

function source(file: string, imports: SourceFile["imports"], rest: Partial<SourceFile> = {}): SourceFile {
  return { file, imports, lines: 1, readsEnvironment: false, ...rest }
}

function parse(text: string): SourceFile {
  return parseSourceFile("src/base/a.ts", text)
}
