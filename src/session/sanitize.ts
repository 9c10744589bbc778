// Strips markup on the server, for tenants whose pages insert content into HTML. It is off unless a channel
// rule sets `sanitize: StripMarkup`.
import { Parser } from 'htmlparser2'

/** Elements whose text is dropped with them, since it is code. */
const dropped = new Set(['script', 'style', 'template', 'noscript', 'iframe', 'object'])

/** Matches the strings of a JSON text, each with the colon that makes it a key. */
const jsonStrings = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?/g

/** Ordinary text needs one round, and rarely two. */
const roundsMax = 8

/**
 * Removes the tags from every string value of a JSON text. Keys and everything else stay byte for byte.
 * Character references (`&lt;`) stay too, since they are text.
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
 * Repeats until nothing changes, since nested tags can form a new tag when one is removed. After `roundsMax`
 * rounds it removes every `<`: thousands of rounds would stall the gateway.
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
