import assert from "node:assert/strict"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parse } from "yaml"
import { z } from "zod"
import { CONFIGS } from "../../scripts/generate/config-schema.ts"
import { alternatives, toJsonSchema } from "../../scripts/generate/json-schema.ts"
import type { JsonSchema } from "../../scripts/generate/json-schema.ts"
import { loadConfig } from "../../src/bin/config-file.ts"

const CONFIG = new URL("../../config/", import.meta.url)

for (const [name, schema] of Object.entries(CONFIGS)) {
  describe(`config/${name}.example.yaml`, () => {
    let example: string
    let folder: string

    before(async () => { example = await readFile(new URL(`${name}.example.yaml`, CONFIG), "utf8") })
    beforeEach(async () => { folder = await mkdtemp(join(tmpdir(), "ekey-config-")) })
    afterEach(async () => { await rm(folder, { recursive: true, force: true }) })

    const forms: readonly (readonly [string, (text: string) => string])[] = [["as it stands", (text) => text], ["with every setting taken out of its comment", uncomment]]
    for (const [title, form] of forms) {
      it(`is loaded ${title}`, async () => {
        const file = join(folder, "config.yaml")
        await writeFile(file, form(example))
        await loadConfig(file, schema)
      })

      it(`fits its JSON Schema ${title}`, async () => {
        const published = z.fromJSONSchema(JsonSchemaFile.parse(JSON.parse(await readFile(new URL(`${name}.schema.json`, CONFIG), "utf8"))))
        assert.deepEqual(published.safeParse(parse(form(example))).error?.issues ?? [], [])
      })
    }

    it("has every setting, in a comment or not", () => {
      assert.deepEqual([...missingSettings(toJsonSchema(schema), [parse(uncomment(example))], "")], [])
    })

    it("explains every setting where it first stands: a line of prose is before it", () => {
      const settings = new Set(namesOf(toJsonSchema(schema)))
      const explained = new Map<string, boolean>()
      const lines = example.split("\n")
      for (const [index, line] of lines.entries()) {
        const setting = /^\s*#?([a-zA-Z]+):/.exec(line)?.[1]
        if (setting === undefined || !settings.has(setting) || explained.has(setting)) continue
        explained.set(setting, /^\s*# /.test(lines[index - 1] ?? ""))
      }
      assert.ok(explained.size > 0)
      assert.deepEqual([...explained].flatMap(([setting, isExplained]) => isExplained ? [] : [setting]), [])
    })

    it("names its schema, for editors", () => {
      assert.ok(example.startsWith(`# yaml-language-server: $schema=./${name}.schema.json\n`))
    })
  })

  describe(`config/${name}.schema.json`, () => {
    it("describes every setting", () => {
      assert.deepEqual([...undescribed(toJsonSchema(schema), "")], [])
    })
  })
}

const JsonSchemaFile = z.record(z.string(), z.json())

/** Settings that are commented out begin with "#" and no space; prose has one. */
function uncomment(text: string): string {
  return text.replaceAll(/^(\s*)#(?=[a-zA-Z])/gm, "$1")
}

/** The names of all settings, without those that an admin chooses. */
function* namesOf(schema: JsonSchema): Generator<string> {
  for (const one of alternatives(schema)) {
    for (const [name, child] of Object.entries(one.properties ?? {})) {
      yield name
      yield* namesOf(child)
    }
    if (typeof one.additionalProperties === "object") yield* namesOf(one.additionalProperties)
  }
}

/** Settings of the schema that none of the values has. */
function* missingSettings(schema: JsonSchema, values: readonly unknown[], path: string): Generator<string> {
  const objects = values.filter((value) => typeof value === "object" && value !== null).map((value) => new Map<string, unknown>(Object.entries(value)))
  for (const one of alternatives(schema)) {
    for (const [name, child] of Object.entries(one.properties ?? {})) {
      const found = objects.flatMap((object) => object.has(name) ? [object.get(name)] : [])
      if (found.length === 0) yield `${path}${name}`
      else yield* missingSettings(child, found, `${path}${name}.`)
    }
    if (typeof one.additionalProperties === "object") yield* missingSettings(one.additionalProperties, objects.flatMap((object) => [...object.values()]), `${path}*.`)
  }
}

function* undescribed(schema: JsonSchema, path: string): Generator<string> {
  for (const one of alternatives(schema)) {
    for (const [name, child] of Object.entries(one.properties ?? {})) {
      if (!child.description) yield `${path}${name}`
      yield* undescribed(child, `${path}${name}.`)
    }
    if (typeof one.additionalProperties === "object") yield* undescribed(one.additionalProperties, `${path}*.`)
  }
}
