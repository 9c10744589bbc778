// Server-side stripping of markup, for tenants whose pages put content into HTML. Off unless a channel rule asks (`sanitize: StripMarkup`).
import { Parser } from 'htmlparser2'

/** Text in these is code, not words. */
const dropped = new Set(['script', 'style', 'template', 'noscript', 'iframe', 'object'])

/**
 * The same JSON with the tags taken out of every string in it; keys and everything else stay. Data without `<` is returned as it is,
 * byte for byte. Character references (`&lt;`) are left alone: they are text, and stay text.
 */
export function stripMarkup(data: Uint8Array): Uint8Array {
  if (!data.includes(0x3c) && !data.includes(0x5c)) return data
  const value: unknown = JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString())
  let stripped = false
  const text = JSON.stringify(value, (_key, part: unknown) => {
    if (typeof part !== 'string' || !part.includes('<')) return part
    stripped = true
    return stripText(part)
  })
  return stripped ? Buffer.from(text) : data
}

/** Again until nothing changes: tags may be nested so that taking one out makes another. Each round is shorter, so it ends. */
function stripText(text: string): string {
  let before = text
  for (;;) {
    const after = withoutTags(before)
    if (after.length >= before.length) return after
    before = after
  }
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
