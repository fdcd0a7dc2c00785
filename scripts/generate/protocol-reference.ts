import { METHODS } from "../../src/wire/methods.ts"
import { alternatives, toJsonSchema } from "./json-schema.ts"
import type { JsonSchema } from "./json-schema.ts"
import { code, table } from "./markdown.ts"
import { formText, NAMED_TYPES, typeText } from "./type-text.ts"

/** The types that more than one field has: scalars in one table, objects each with its fields. */
export function typeReference(): string {
  const types = Object.entries(NAMED_TYPES).map(([name, type]) => ({ name, schema: toJsonSchema(type) }))
  const hasFields = (schema: JsonSchema): boolean => alternatives(schema).some(({ properties }) => properties !== undefined)
  const scalars = types.filter(({ schema }) => !hasFields(schema))
  const objects = types.filter(({ schema }) => hasFields(schema))
  return [
    table(["type", "form", "meaning"], scalars.map(({ name, schema }) => [code(name), formText(schema), meaningOf(schema, name)])),
    ...objects.flatMap(({ name, schema }) => alternatives(schema).map((one) => `${code(name)}${stateOf(one)}:\n\n${fieldTable(one, name)}`)),
  ].join("\n\n")
}

/** Every method with who calls whom, its parameters and its result. */
export function methodReference(): string {
  return Object.entries(METHODS).map(([name, { what, callers, callees, params, result }]) => [
    `### ${code(name)}`,
    what,
    `Called by: ${callers.join(", ")}. Answered by: ${callees.join(", ")}.`,
    `Parameters:\n\n${fieldTable(toJsonSchema(params), `${name} parameters`)}`,
    resultText(toJsonSchema(result), `${name} result`),
  ].join("\n\n")).join("\n\n")
}

function resultText(schema: JsonSchema, where: string): string {
  return Object.keys(schema.properties ?? {}).length === 0 ? "Result: `{}`" : `Result:\n\n${fieldTable(schema, where)}`
}

function fieldTable(schema: JsonSchema, where: string): string {
  return table(["field", "type", "meaning"], [...fieldRows(schema, "", where)])
}

/** One row for each field; fields of objects without a name of their own follow it, with dots. */
function* fieldRows(schema: JsonSchema, prefix: string, where: string): Generator<string[]> {
  const required = new Set(schema.required)
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    // The page says so once, for all of them.
    if (!required.has(name)) throw new Error(`${where}: ${prefix}${name} may be left out, which no field of this protocol may`)
    yield [code(`${prefix}${name}`), typeText(field), meaningOf(field, `${where}: ${prefix}${name}`)]
    if (typeText(field) !== formText(field)) continue
    for (const one of alternatives(field)) yield* fieldRows(one, `${prefix}${name}.`, where)
  }
}

function meaningOf({ description, const: fixed }: JsonSchema, where: string): string {
  if (description === undefined && fixed === undefined) throw new Error(`${where} has no description`)
  return description ?? ""
}

function stateOf(schema: JsonSchema): string {
  const fixed = Object.entries(schema.properties ?? {}).find(([, field]) => field.const !== undefined)
  return fixed ? ` with ${code(fixed[0])} ${code(JSON.stringify(fixed[1].const))}` : ""
}
