import type { z } from "zod"
import { RevocationList, Serial } from "../../src/wire/messages/certificate.ts"
import { BlindCopy } from "../../src/wire/messages/custody.ts"
import { Outcome, Statistics } from "../../src/wire/messages/operation.ts"
import { DeadlineMs, EkeyVersion, Id128, Name, TimestampMs, UserId } from "../../src/wire/messages/scalars.ts"
import { Product, Workflow } from "../../src/wire/messages/workflows.ts"
import { Role } from "../../src/wire/identity/spiffe.ts"
import { toJsonSchema } from "./json-schema.ts"
import type { JsonSchema } from "./json-schema.ts"
import { code } from "./markdown.ts"

/** Types that the reference writes out once. No two of them may have the same form. */
export const NAMED_TYPES: Readonly<Record<string, z.ZodType>> = {
  Id128, Name, UserId, TimestampMs, DeadlineMs, EkeyVersion, Serial, Role, Product, Workflow, Statistics, Outcome, RevocationList, BlindCopy,
}

/** A schema's form without its description, which each use may word anew. */
function formOf(schema: JsonSchema): string {
  const { description: _, ...form } = schema
  return JSON.stringify({ ...form, $schema: undefined })
}

const NAMES = new Map(Object.entries(NAMED_TYPES).map(([name, type]) => [formOf(toJsonSchema(type)), name]))
if (NAMES.size !== Object.keys(NAMED_TYPES).length) throw new Error("two named types have the same form")

/** The name of a named type, or what a field's value looks like in words. */
export function typeText(schema: JsonSchema): string {
  const name = NAMES.get(formOf(schema))
  return name === undefined ? formText(schema) : code(name)
}

/** What a value looks like, in words. */
export function formText(schema: JsonSchema): string {
  const union = schema.anyOf ?? schema.oneOf
  if (union) return union.map(typeText).join(" or ")
  if (schema.const !== undefined) return code(JSON.stringify(schema.const))
  if (schema.enum) return schema.enum.map((value) => code(JSON.stringify(value))).join(", ")
  switch (schema.type) {
    case "string": return stringText(schema)
    case "integer": return `integer${rangeText(schema.minimum, schema.maximum === Number.MAX_SAFE_INTEGER ? undefined : schema.maximum)}`
    case "number": return `number${rangeText(schema.minimum, schema.maximum)}`
    case "array": return `list (${rangeText(schema.minItems, schema.maxItems).slice(2) || "any number"}) of ${schema.items ? typeText(schema.items) : "anything"}`
    case "object": return objectText(schema)
    case "boolean": return "true or false"
    case "null": return "null"
    default: throw new Error(`a schema has the form ${JSON.stringify(schema)}, for which there are no words`)
  }
}

function stringText({ contentEncoding, pattern, minLength, maxLength }: JsonSchema): string {
  // Characters of base64url without padding hold six bits each.
  if (contentEncoding === "base64url") return `base64url${rangeText(toBytes(minLength), toBytes(maxLength))} bytes`
  return `text${rangeText(minLength, maxLength, " characters")}${pattern === undefined ? "" : ` ${code(pattern)}`}`
}

function toBytes(characters: number | undefined): number | undefined {
  return characters === undefined ? undefined : Math.floor(characters * 6 / 8)
}

function objectText({ properties, additionalProperties, propertyNames }: JsonSchema): string {
  if (properties) return Object.keys(properties).length === 0 ? "empty object" : "object"
  if (typeof additionalProperties !== "object" || !propertyNames) throw new Error("an object with neither fields nor a form for them")
  return `object: ${typeText(propertyNames)} to ${typeText(additionalProperties)}`
}

function rangeText(min: number | undefined, max: number | undefined, unit = ""): string {
  if (min !== undefined && min === max) return `, ${String(min)}${unit}`
  if (min !== undefined && max !== undefined) return `, ${String(min)} to ${String(max)}${unit}`
  if (max !== undefined) return `, at most ${String(max)}${unit}`
  return min === undefined ? "" : `, from ${String(min)}${unit}`
}
