// Server-side stripping of markup, for tenants whose pages put content into HTML. Off unless a channel rule
// asks (`sanitize: StripMarkup`).
import { Parser } from 'htmlparser2'

/** Text in these is code, not words. */
const dropped = new Set(['script', 'style', 'template', 'noscript', 'iframe', 'object'])

/** Strings of a JSON text, each with the colon that makes it a key. */
const jsonStrings = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?/g

/** Honest text needs one round, rarely two. */
const roundsMax = 8

/**
 * The same JSON with the tags taken out of every string in it; keys and everything else stay, byte for byte.
 * Character references (`&lt;`) are left alone: they are text, and stay text.
 */
export function stripMarkup(data: Uint8Array): Uint8Array {
  if (!data.includes(0x3c) && !data.includes(0x5c)) return data
  const json = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString()
  const stripped = json.replace(jsonStrings, (string, colon?: string) => {
    if (colon !== undefined) return string
    const text: unknown = JSON.parse(string)
    return typeof text === 'string' && text.includes('<') ? JSON.stringify(stripText(text)) : string
  })
  return stripped === json ? data : Buffer.from(stripped)
}

/**
 * Again until nothing changes: tags may be nested so that taking one out makes another. Whoever nests them
 * deeper than anybody means to loses every `<`: thousands of rounds would stall the gateway.
 */
function stripText(text: string): string {
  let before = text
  for (let round = 0; round < roundsMax; round += 1) {
    const after = withoutTags(before)
    if (after.length >= before.length) return after
    before = after
  }
  return before.replaceAll('<', '')
}

function withoutTags(text: string): string {
  let out = ''
  let droppedDepth = 0
  const parser = new Parser(
    {
      onopentagname: (name) => void (droppedDepth += Number(dropped.has(name))),
      onclosetag: (name) => void (droppedDepth -= Number(dropped.has(name))),
      ontext: (part) => void (out += droppedDepth > 0 ? '' : part),
    },
    { decodeEntities: false },
  )
  parser.end(text)
  return out
}
