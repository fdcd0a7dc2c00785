import assert from "node:assert/strict"
import { buildCommand } from "../../src/worker/job-command.ts"
import { JobDefinition, allowsWorkflow } from "../../src/worker/job-definition.ts"

const SMALLEST = { program: "/usr/bin/restic", repository: "/srv/backup" }
const FOLDER = { folder: { pattern: "[a-z/.]+" } }

function problems(config: unknown): string[] {
  const result = JobDefinition.safeParse(config)
  return result.success ? [] : result.error.issues.map((issue) => issue.path.join("."))
}

function argsOf(config: Record<string, unknown>, parameters: Record<string, string> = {}, user = "user-1@acme.example"): readonly string[] {
  return buildCommand(JobDefinition.parse({ ...SMALLEST, ...config }), { user, parameters }).args
}

describe("a job's definition", () => {
  it("needs a program and a repository, and has defaults for the rest", () => {
    assert.deepEqual(JobDefinition.parse(SMALLEST), {
      ...SMALLEST, args: [], handoff: { via: "fd" }, environment: {}, parameters: {}, timeoutSeconds: 86_400,
    })
  })

  it("gives a parameter 256 characters unless told otherwise", () => {
    assert.equal(JobDefinition.parse({ ...SMALLEST, parameters: FOLDER }).parameters["folder"]?.maxLength, 256)
  })

  for (const [name, config, path] of [
    ["no program", { repository: "/r" }, "program"],
    ["a program that the path would be searched for", { ...SMALLEST, program: "restic" }, "program"],
    ["a relative program", { ...SMALLEST, program: "./restic" }, "program"],
    ["no repository", { program: "/p" }, "repository"],
    ["an unknown setting", { ...SMALLEST, shell: true }, ""],
    ["an argument that is no text", { ...SMALLEST, args: [1] }, "args.0"],
    ["a NUL in an argument", { ...SMALLEST, args: ["a\0b"] }, "args.0"],
    ["an unknown name in an argument", { ...SMALLEST, args: ["ok", "{source}"] }, "args.1"],
    ["a destination in an argument but none configured", { ...SMALLEST, args: ["{destination}"] }, "args.0"],
    ["a single brace", { ...SMALLEST, args: ["{user"] }, "args.0"],
    ["a closing brace alone", { ...SMALLEST, args: ["user}"] }, "args.0"],
    ["a name that inherits from every object", { ...SMALLEST, args: ["{constructor}"] }, "args.0"],
    ["a parameter in the repository, which the cloud may not change", { ...SMALLEST, repository: "/r/{folder}", parameters: FOLDER }, "repository"],
    ["a parameter in the destination, which the cloud may not change", { ...SMALLEST, destination: "/d/{folder}", parameters: FOLDER }, "destination"],
    ["the repository in itself", { ...SMALLEST, repository: "{repository}" }, "repository"],
    ["a parameter named as the user is", { ...SMALLEST, parameters: { user: { pattern: "x" } } }, "parameters.user"],
    ["a parameter named as the repository is", { ...SMALLEST, parameters: { repository: { pattern: "x" } } }, "parameters.repository"],
    ["a parameter with a strange name", { ...SMALLEST, parameters: { "Fold er": { pattern: "x" } } }, "parameters.Fold er"],
    ["a parameter without a pattern", { ...SMALLEST, parameters: { folder: {} } }, "parameters.folder.pattern"],
    ["a pattern that is none", { ...SMALLEST, parameters: { folder: { pattern: "(" } } }, "parameters.folder.pattern"],
    ["a pattern that would step out of its anchors", { ...SMALLEST, parameters: { folder: { pattern: "a)|(?:b" } } }, "parameters.folder.pattern"],
    ["an impossible environment variable", { ...SMALLEST, environment: { "A=B": "c" } }, "environment.A=B"],
    ["the ekey's own variable", { ...SMALLEST, handoff: { via: "environment", name: "P" }, environment: { P: "c" } }, "environment.P"],
    ["the descriptor's variable", { ...SMALLEST, environment: { EKEY_FD: "4" } }, "environment.EKEY_FD"],
    ["an unknown workflow", { ...SMALLEST, workflows: ["backup.everything"] }, "workflows.0"],
    ["no workflow at all", { ...SMALLEST, workflows: [] }, "workflows"],
    ["no time to run", { ...SMALLEST, timeoutSeconds: 0 }, "timeoutSeconds"],
  ] as const) {
    it(`is refused at load with ${name}`, () => { assert.deepEqual(problems(config), [path]) })
  }

  it("reports every wrong argument at once", () => {
    assert.deepEqual(problems({ ...SMALLEST, args: ["{a}", "fine", "{b}{a}"] }), ["args.0", "args.2", "args.2"])
  })

  it("runs for every workflow, or for those that it lists", () => {
    const listed = JobDefinition.parse({ ...SMALLEST, workflows: ["backup.scheduled"] })
    assert.equal(allowsWorkflow(listed, "backup.scheduled"), true)
    assert.equal(allowsWorkflow(listed, "backup.manual"), false)
    assert.equal(allowsWorkflow(JobDefinition.parse(SMALLEST), "backup.manual"), true)
  })
})

describe("a job's command", () => {
  it("is the config's program, arguments and fixed environment", () => {
    const job = JobDefinition.parse({
      program: "/usr/bin/restic", repository: "/srv/{user}", destination: "/back/{user}", environment: { GOGC: "20" },
      args: ["--repo", "{repository}", "restore", "latest", "--target={destination}", "--host", "{user}", "--include", "{folder}"],
      parameters: FOLDER,
    })
    assert.deepEqual(buildCommand(job, { user: "u@acme.example", parameters: { folder: "docs/a" } }), {
      program: "/usr/bin/restic",
      args: ["--repo", "/srv/u@acme.example", "restore", "latest", "--target=/back/u@acme.example", "--host", "u@acme.example", "--include", "docs/a"],
      env: { GOGC: "20" },
    })
  })

  it("keeps a value inside its one argument, whatever it holds", () => {
    const config = { args: ["x={any}"], parameters: { any: { pattern: ".*" } } }
    for (const value of ["a b", "$(reboot)", "; reboot", "a' 'b", "*", "", "{{", "}"]) {
      assert.deepEqual(argsOf(config, { any: value }), [`x=${value}`])
    }
  })

  it("never expands a value again", () => {
    const config = { args: ["{any}", "{other}"], parameters: { any: { pattern: ".*" }, other: { pattern: ".*" } } }
    assert.deepEqual(argsOf(config, { any: "{repository}", other: "{any}{user}" }), ["{repository}", "{any}{user}"])
    assert.deepEqual(argsOf({ args: ["$&", "{any}$1"], parameters: { any: { pattern: ".*" } } }, { any: "$&$1" }), ["$&", "$&$1$1"])
  })

  it("writes doubled braces as single ones", () => {
    assert.deepEqual(argsOf({ args: ["{{user}}", "{{{user}}}", "{{}}"] }, {}, "u"), ["{user}", "{u}", "{}"])
  })

  describe("refuses", () => {
    const config = JobDefinition.parse({ ...SMALLEST, args: ["{folder}"], parameters: { folder: { pattern: "[a-z/.-]+|x.*", maxLength: 20 } } })
    for (const [name, parameters] of [
      ["a parameter that the job does not declare", { folder: "a", extra: "b" }],
      ["an argument under the name of a setting", { folder: "a", repository: "/elsewhere" }],
      ["another destination", { folder: "a", destination: "/elsewhere" }],
      ["another program", { folder: "a", program: "/bin/sh" }],
      ["a parameter named __proto__", JSON.parse('{"folder": "a", "__proto__": "b"}') as Record<string, string>],
      ["a parameter named constructor", { folder: "a", constructor: "b" }],
      ["a missing parameter", {}],
      ["a parameter that is there by inheritance only", Object.create({ folder: "a" }) as Record<string, string>],
      ["an empty value that the pattern does not allow", { folder: "" }],
      ["a value of which only the beginning matches", { folder: "abc!" }],
      ["a value of which only the end matches", { folder: "!abc" }],
      ["a value with a second line", { folder: "abc\n" }],
      ["a value that is too long", { folder: "a".repeat(21) }],
      ["a value that looks like an option", { folder: "-rf" }],
      ["a value that looks like a long option, which the pattern allows", { folder: "--repo/x" }],
      ["a control character that the pattern allows", { folder: "x\u001b[0m" }],
      ["a NUL that the pattern allows", { folder: "x\0" }],
      ["a C1 control character", { folder: "x\u009b" }],
      ["half of a surrogate pair", { folder: "x\ud800" }],
      ["a path that leaves its folder", { folder: "a/../../b" }],
      ["a path that begins outside its folder", { folder: "../b" }],
      ["a path that leaves its folder the Windows way", { folder: "x\\..\\b" }],
    ] as const) {
      it(name, () => {
        assert.throws(() => buildCommand(config, { user: "u", parameters }), (error: Error & { code?: string }) => {
          assert.equal(error.code, "ERR_JOB")
          // The message may go to the cloud: it names the parameter alone.
          for (const value of Object.values(parameters)) assert.equal(value.length > 2 && error.message.includes(value), false)
          return true
        })
      })
    }

    for (const user of ["", "-u", "--help", "a\nb", "a\0", "\ud800"]) {
      it(`the user ${JSON.stringify(user)}`, () => {
        assert.throws(() => buildCommand(JobDefinition.parse(SMALLEST), { user, parameters: {} }), { code: "ERR_JOB" })
      })
    }
  })

  it("takes a value at its greatest length", () => {
    assert.deepEqual(argsOf({ args: ["{p}"], parameters: { p: { pattern: "a*", maxLength: 20 } } }, { p: "a".repeat(20) }), ["a".repeat(20)])
  })

  describe("writes a user as one path segment", () => {
    for (const [user, segment] of [
      ["user-1@acme.example", "user-1@acme.example"],
      ["../../etc", "%2E.%2F..%2Fetc"],
      ["..", "%2E."],
      [".hidden", "%2Ehidden"],
      ["a/b", "a%2Fb"],
      ["a%2Fb", "a%252Fb"],
      ["a\\b", "a%5Cb"],
      ["é", "%C3%A9"],
      ["{repository}", "%7Brepository%7D"],
    ] as const) {
      it(`${user} is ${segment}`, () => {
        assert.deepEqual(argsOf({ repository: "/r/{user}", args: ["{repository}/{user}"] }, {}, user), [`/r/${segment}/${segment}`])
      })
    }
  })
})
