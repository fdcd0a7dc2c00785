import { defineConfig, globalIgnores } from "eslint/config"
import tseslint from "typescript-eslint"

const TYPESCRIPT = ["src/**/*.ts", "test/**/*.ts", "bench/**/*.ts", "scripts/**/*.ts"]
const OUTSIDE_PRODUCT = ["test/**/*.ts", "bench/**/*.ts", "scripts/**/*.ts"]

const CLOCK = "time is an argument: take a Clock (base/clock.ts)"
const RANDOM = "randomness is an argument: take `random: () => number`, or node:crypto for anything secret"
const ENVIRONMENT = "only src/bin reads the environment and the command line: take what you need as an argument"

const namedExportsOnly = [
  { selector: "ExportDefaultDeclaration", message: "named exports only" },
  { selector: "ExportSpecifier[exported.name='default']", message: "named exports only" },
]
const separateTypeImports = [
  { selector: "ImportSpecifier[importKind='type']", message: "types have an `import type` of their own" },
]
const noWallClock = [
  { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: CLOCK },
  { selector: "CallExpression[callee.name='Date']", message: CLOCK },
]
const noBarrels = [
  { selector: "ExportAllDeclaration", message: "import the file that defines the thing" },
]
const wholeSuiteRuns = [
  {
    selector: "MemberExpression[object.name=/^(describe|it)$/][property.name='only']",
    message: "the whole suite runs",
  },
  {
    selector: "MemberExpression[object.name=/^(describe|it)$/][property.name='skip']",
    message: "skip with a reason: test/support/requirements.ts",
  },
]

const noRawTime = [
  { object: "Date", property: "now", message: CLOCK },
  { object: "Math", property: "random", message: RANDOM },
  { object: "globalThis", property: "setTimeout", message: CLOCK },
  { object: "globalThis", property: "setInterval", message: CLOCK },
]
const noHiddenTime = [
  { object: "AbortSignal", property: "timeout", message: CLOCK },
  { object: "performance", property: "now", message: CLOCK },
]
const noEnvironment = [
  { object: "process", property: "env", message: ENVIRONMENT },
  { object: "process", property: "argv", message: ENVIRONMENT },
]

const noTimerImports = ["node:timers", "node:timers/promises"].map((name) => (
  { name, importNames: ["setTimeout", "setInterval", "scheduler"], message: CLOCK }
))
const noProcessImports = [
  { name: "node:process", message: "use the global process, so that one rule finds every use" },
]

/** ESLint replaces a rule's options, it does not merge them: each folder gets its whole list. */
function bans({ syntax, properties, imports, timers = true }) {
  const banned = ["error", { name: "setTimeout", message: CLOCK }, { name: "setInterval", message: CLOCK }]
  return {
    "no-restricted-syntax": ["error", ...namedExportsOnly, ...separateTypeImports, ...syntax],
    "no-restricted-properties": ["error", ...properties],
    "no-restricted-imports": ["error", { paths: [...noProcessImports, ...imports] }],
    "no-restricted-globals": timers ? banned : "off",
  }
}

export default defineConfig(
  globalIgnores(["dist/", ".ekey/"]),
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  {
    files: TYPESCRIPT,
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "separate-type-imports" }],
      "@typescript-eslint/no-import-type-side-effects": "error",
      // A default clause is an answer to every other member; `satisfies never` in it asks for all of them.
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      // An empty string is absent as often as not: `||` says so.
      "@typescript-eslint/prefer-nullish-coalescing": ["error", { ignorePrimitives: { string: true } }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "no-console": "error",
      // A number in a message reads as one writes it; objects and undefined stay banned.
      "@typescript-eslint/restrict-template-expressions": ["error", {
        allowAny: false, allowBoolean: false, allowNever: false, allowNullish: false, allowNumber: true, allowRegExp: false,
      }],
      // A port's method is async so that it rejects where it would throw, even if one adapter need not wait.
      "@typescript-eslint/require-await": "off",
    },
  },
  {
    files: ["src/**/*.ts"],
    rules: {
      ...bans({
        syntax: [...noWallClock, ...noBarrels],
        properties: [...noRawTime, ...noHiddenTime, ...noEnvironment],
        imports: noTimerImports,
      }),
      // No `as` that claims more than is known: what comes from outside is parsed. Tests make wrong values on purpose.
      "@typescript-eslint/no-unsafe-type-assertion": "error",
    },
  },
  {
    files: ["src/bin/**/*.ts"],
    rules: bans({
      syntax: [...noWallClock, ...noBarrels],
      properties: [...noRawTime, ...noHiddenTime],
      imports: noTimerImports,
    }),
  },
  {
    files: ["src/base/clock.ts"],
    rules: bans({ syntax: noBarrels, properties: noEnvironment, imports: [], timers: false }),
  },
  {
    files: OUTSIDE_PRODUCT,
    rules: bans({ syntax: [...noWallClock, ...wholeSuiteRuns], properties: noRawTime, imports: noTimerImports }),
  },
  {
    files: ["bench/**/*.ts", "scripts/**/*.ts"],
    rules: { "no-console": "off" }, // Their output is for a person at a terminal.
  },
  {
    files: ["**/*.{js,mjs}"],
    extends: [tseslint.configs.strict, tseslint.configs.disableTypeChecked],
  },
  {
    files: ["**/*.mjs"],
    rules: { "no-restricted-syntax": ["error", ...namedExportsOnly] },
  },
)
