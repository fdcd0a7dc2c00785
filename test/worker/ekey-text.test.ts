import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { EkeyMask } from "../../src/worker/ekey-mask.ts"
import { checkEkeyText, encodeEkeyText } from "../../src/worker/ekey-text.ts"

describe("an ekey as text", () => {
  it("is base64url without padding, for every length", () => {
    for (let length = 0; length <= 67; length++) {
      const bytes = randomBytes(length)
      assert.equal(encodeEkeyText(bytes).toString("latin1"), bytes.toString("base64url"))
    }
  })

  describe("in a password file", () => {
    const text = Buffer.alloc(32, 0xfb).toString("base64url")

    for (const ending of ["", "\n", "\r\n"]) {
      it(`is taken with ${JSON.stringify(ending)} after it`, () => {
        assert.equal(checkEkeyText(Buffer.from(text + ending)).toString(), text)
      })
    }

    for (const [name, content] of [
      ["nothing", ""],
      ["a line end alone", "\n"],
      ["a passphrase", "correct horse battery staple"],
      ["one character too few", text.slice(1)],
      ["one character too many", `${text}A`],
      ["two line ends", `${text}\n\n`],
      ["a carriage return alone after it", `${text}\r`],
      ["a space before it", ` ${text}`],
      ["standard base64", Buffer.alloc(32, 0xfb).toString("base64").slice(0, 43)],
      ["bits that no ekey has", `${text.slice(0, 42)}B`],
      ["bytes beyond ASCII", `${text.slice(0, 41)}ü`],
    ] as const) {
      it(`is refused when the file holds ${name}`, () => {
        assert.throws(() => checkEkeyText(Buffer.from(content)), { code: "ERR_FILE" })
      })
    }
  })
})

describe("masking an ekey", () => {
  const ekey = Buffer.from(Array.from({ length: 32 }, (_, i) => (i * 37 + 251) % 256))
  const mask = new EkeyMask(ekey)

  for (const [name, spelling] of [
    ["base64url", ekey.toString("base64url")],
    ["base64", ekey.toString("base64").replace(/=+$/, "")],
    ["lower-case hexadecimal", ekey.toString("hex")],
    ["upper-case hexadecimal", ekey.toString("hex").toUpperCase()],
  ] as const) {
    it(`takes it out as ${name}, wherever and as often as it occurs`, () => {
      assert.equal(mask.mask(`é ${spelling}${spelling}=, end`), "é [ekey][ekey]=, end")
    })

    it(`leaves all but the whole ${name} alone`, () => {
      assert.equal(mask.mask(spelling.slice(1)), spelling.slice(1))
    })
  }
})
