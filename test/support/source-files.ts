import { readFileSync, readdirSync } from "node:fs"
import { join } from "node:path"
import ts from "typescript"

/** What the architecture rules judge of one source file. */
export interface SourceFile {
  /** From the project's root, with forward slashes: `src/base/clock.ts`. */
  readonly file: string
  /** What the file imports or exports from, types and dynamic imports included; null: not a literal. */
  readonly imports: readonly (string | null)[]
  readonly lines: number
  /** Whether it mentions `process.env` or `process.argv`, by whatever way to write it. */
  readonly readsEnvironment: boolean
}

/** Every TypeScript file under `folder` of the project at `root`. */
export function readSourceFiles(root: string, folder: string): SourceFile[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .map((path) => join(folder, path).replaceAll("\\", "/"))
    .filter((file) => file.endsWith(".ts"))
    .map((file) => parseSourceFile(file, readFileSync(join(root, file), "utf8")))
}

export function parseSourceFile(file: string, text: string): SourceFile {
  const imports: (string | null)[] = []
  let readsEnvironment = false
  const visit = (node: ts.Node): void => {
    const specifier = importOf(node)
    if (specifier) imports.push(ts.isStringLiteralLike(specifier) ? specifier.text : null)
    readsEnvironment ||= isEnvironment(node)
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true))
  readsEnvironment ||= imports.some((specifier) => specifier === "node:process" || specifier === "process")
  const lines = text.split("\n").length - (text.endsWith("\n") ? 1 : 0)
  return { file, imports, lines, readsEnvironment }
}

/** The expression that names the module, if the node is any of the ways to import one. */
function importOf(node: ts.Node): ts.Node | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier
  if (ts.isImportTypeNode(node)) return ts.isLiteralTypeNode(node.argument) ? node.argument.literal : node.argument
  if (!ts.isCallExpression(node)) return undefined
  const { expression } = node
  const imports = expression.kind === ts.SyntaxKind.ImportKeyword || (ts.isIdentifier(expression) && expression.text === "require")
  return imports ? (node.arguments[0] ?? node) : undefined
}

function isEnvironment(node: ts.Node): boolean {
  if (ts.isPropertyAccessExpression(node)) return isProcess(node.expression) && isEnvironmentName(node.name.text)
  if (ts.isElementAccessExpression(node)) {
    const { argumentExpression: key } = node
    return isProcess(node.expression) && (!ts.isStringLiteralLike(key) || isEnvironmentName(key.text))
  }
  if (ts.isVariableDeclaration(node) && node.initializer && isProcess(node.initializer) && ts.isObjectBindingPattern(node.name)) {
    return node.name.elements.some(({ name, propertyName }) => isEnvironmentName((propertyName ?? name).getText()))
  }
  return false
}

/** `process`, or `process` of something, as in `globalThis.process`. */
function isProcess(node: ts.Expression): boolean {
  if (ts.isIdentifier(node)) return node.text === "process"
  return ts.isPropertyAccessExpression(node) && node.name.text === "process"
}

function isEnvironmentName(name: string): boolean {
  return name === "env" || name === "argv"
}
