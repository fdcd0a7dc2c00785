import { z } from "zod"

/** As much of a JSON Schema (draft 2020-12) as zod writes for our messages and settings. */
export interface JsonSchema {
  readonly description?: string | undefined
  readonly type?: string | undefined
  readonly const?: unknown
  readonly enum?: readonly unknown[] | undefined
  readonly default?: unknown
  readonly pattern?: string | undefined
  readonly contentEncoding?: string | undefined
  readonly minLength?: number | undefined
  readonly maxLength?: number | undefined
  readonly minimum?: number | undefined
  readonly maximum?: number | undefined
  readonly minItems?: number | undefined
  readonly maxItems?: number | undefined
  readonly items?: JsonSchema | undefined
  readonly anyOf?: readonly JsonSchema[] | undefined
  readonly oneOf?: readonly JsonSchema[] | undefined
  readonly properties?: Readonly<Record<string, JsonSchema>> | undefined
  readonly required?: readonly string[] | undefined
  readonly propertyNames?: JsonSchema | undefined
  readonly additionalProperties?: boolean | JsonSchema | undefined
}

const Count = z.number().optional()
const JsonSchema: z.ZodType<JsonSchema> = z.lazy(() => z.strictObject({
  $schema: z.string().optional(),
  description: z.string().optional(),
  type: z.string().optional(),
  const: z.unknown().optional(),
  enum: z.array(z.unknown()).optional(),
  default: z.unknown().optional(),
  pattern: z.string().optional(),
  contentEncoding: z.string().optional(),
  minLength: Count, maxLength: Count, minimum: Count, maximum: Count, minItems: Count, maxItems: Count,
  items: JsonSchema.optional(),
  anyOf: z.array(JsonSchema).optional(),
  oneOf: z.array(JsonSchema).optional(),
  properties: z.record(z.string(), JsonSchema).optional(),
  required: z.array(z.string()).optional(),
  propertyNames: JsonSchema.optional(),
  additionalProperties: z.union([z.boolean(), JsonSchema]).optional(),
}))

/**
 * The JSON Schema of what is written down, before defaults are filled in.
 * @throws ZodError when it uses a keyword that the documents would not show.
 */
export function toJsonSchema(schema: z.ZodType): JsonSchema {
  return JsonSchema.parse(z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }))
}

/** The alternatives of a union, or the schema alone. */
export function alternatives(schema: JsonSchema): readonly JsonSchema[] {
  return (schema.anyOf ?? schema.oneOf)?.flatMap(alternatives) ?? [schema]
}
