// Changes to inputs: to their bytes, to the JSON in them, and to the order of their parts.
import { parseJson } from '../../src/json.js'
import type { FuzzInput } from './input.js'
import type { Random } from '../support/random.js'

const partBytesMax = 60_000
const partsMax = 40

/** Returns a changed copy of one of the seeds. Each target is as likely as the others. */
export function mutated(seeds: readonly FuzzInput[], random: Random): FuzzInput {
  const target = random.pick([...new Set(seeds.map((seed) => seed.target))])
  const others = seeds.filter((seed) => seed.target === target)
  // Without a valid connect command, or a known method, the rest of the input is seldom reached.
  const firstIsKept = target !== 'chat' && target !== 'http' && random.chance(0.85)
  const { parts } = random.pick(others)
  const kept = firstIsKept ? parts.slice(0, 1) : []
  let changed = parts.slice(kept.length)
  for (let count = 1 + random.below(4); count > 0; count -= 1) {
    if (random.chance(0.25))
      changed = withParts(changed, random, () => random.pick(random.pick(others).parts))
    else if (changed.length > 0) {
      const at = random.below(changed.length)
      changed[at] = mutatedPart(changed[at] ?? Buffer.alloc(0), random)
    }
  }
  const all = [...kept, ...changed].slice(0, partsMax)
  return { target, parts: all.map((part) => part.subarray(0, partBytesMax)) }
}

function withParts(parts: readonly Buffer[], random: Random, other: () => Buffer): Buffer[] {
  const at = random.below(parts.length + 1)
  const [before, after] = [parts.slice(0, at), parts.slice(at)]
  switch (random.below(5)) {
    case 0:
      return [...before, other(), ...after]
    case 1:
      return [...before, ...after.slice(1)]
    case 2:
      return [...before, ...Array.from({ length: 1 + random.below(20) }, () => after[0] ?? other()), ...after]
    case 3:
      return [...after, ...before]
    default:
      return [Buffer.concat(parts.flatMap((part) => [part, Buffer.from('\n')]))]
  }
}

function mutatedPart(part: Buffer, random: Random): Buffer {
  const json = random.chance(0.6) ? parseJson(part.toString()) : undefined
  if (typeof json === 'object' && json !== null) return Buffer.from(mutatedJson(json, random))
  return mutatedBytes(part, random)
}

// ——— Bytes ———

/** Bytes and texts that parsers are known to get wrong. */
const oddBytes: readonly Buffer[] = [
  ...[
    '\0',
    '\u2028',
    '\uFEFF',
    '\u202E',
    '👩‍👩‍👧',
    '%00',
    '%',
    '{}',
    '[]',
    '""',
    ',',
    ':',
    '\\u',
    '\\ud800',
    '\r\n',
    '\n\n',
  ],
  ...[
    'null',
    '-0',
    '1e999',
    '9007199254740993',
    '18446744073709551616',
    '__proto__',
    'constructor',
    '$',
    '#',
    '{*}',
  ],
  ...['guest:', 'dm:', 'Infinity', 'true', '\t', '../', '?', '&', '='],
].map((text) => Buffer.from(text))
const rawBytes: readonly Buffer[] = [
  Buffer.from([0xff]),
  Buffer.from([0xc0, 0x80]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.from([0xf5, 0x80, 0x80, 0x80]),
  // Varints: 2^32, 2^63, 2^64 − 1, and one that never ends.
  Buffer.from([0x80, 0x80, 0x80, 0x80, 0x10]),
  Buffer.from([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
  Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
  Buffer.alloc(12, 0x80),
]

function mutatedBytes(part: Buffer, random: Random): Buffer {
  const from = random.below(part.length + 1)
  const to = Math.min(part.length, from + random.below(16))
  const [before, middle, after] = [part.subarray(0, from), part.subarray(from, to), part.subarray(to)]
  switch (random.below(7)) {
    case 0: {
      const copy = Buffer.from(part)
      if (copy.length > 0) copy[random.below(copy.length)] = random.below(256)
      return copy
    }
    case 1: {
      const copy = Buffer.from(part)
      const at = random.below(copy.length || 1)
      if (copy.length > 0) copy[at] = (copy[at] ?? 0) ^ (1 << random.below(8))
      return copy
    }
    case 2:
      return Buffer.concat([before, random.pick([...oddBytes, ...rawBytes]), middle, after])
    case 3:
      return Buffer.concat([before, after])
    case 4:
      return Buffer.concat([before, ...Array.from({ length: 2 + random.below(60) }, () => middle), after])
    case 5:
      return Buffer.from(before)
    default:
      return Buffer.concat([after, middle, before])
  }
}

// ——— JSON ———

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
/** Values as JSON text, for a place where something else belongs. */
const oddValues: readonly string[] = [
  ...['null', 'true', 'false', '0', '-1', '1', '0.5', '-0', '1e308', '1e-7', '2147483648', '4294967295'],
  ...['4294967296', '9007199254740991', '9007199254740993', '18446744073709551615', '1e400'],
  ...[
    '""',
    '" "',
    '"\\u0000"',
    '"\\ud800"',
    '"\\u202e"',
    '"dm:ann"',
    '"lobby"',
    '"$x"',
    '"a b"',
    '"guest:x"',
  ],
  ...[
    '[]',
    '{}',
    '[null]',
    '{"":null}',
    '{"__proto__":{"x":1}}',
    '{"toString":1}',
    nested(40),
    nested(2_000),
  ],
  JSON.stringify('x'.repeat(256)),
  JSON.stringify('ü'.repeat(20_000)),
  JSON.stringify(Array.from({ length: 500 }, (_, n) => n)),
  JSON.stringify(Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`k${n}`, n]))),
]

/** Returns JSON text in which one place is changed. */
function mutatedJson(value: object, random: Random): string {
  let places = 0
  const count = (part: unknown): void => {
    places += 1
    if (typeof part === 'object' && part !== null) for (const item of Object.values(part)) count(item)
  }
  count(value)
  let left = random.below(places)
  const kind = random.below(5)
  const odd = random.pick(oddValues)
  const write = (part: unknown): string => {
    const here = left === 0
    left -= 1
    if (here && kind < 3) return odd
    if (Array.isArray(part)) {
      const items = part.map(write)
      return `[${(here ? [...items, ...items] : items).join()}]`
    }
    if (typeof part !== 'object' || part === null) return JSON.stringify(part) ?? 'null'
    const members = Object.entries(part).map(([name, item]) => `${JSON.stringify(name)}:${write(item)}`)
    if (here && kind === 3) members.splice(random.below(members.length || 1), 1)
    // A second member of the same name.
    if (here && kind === 4)
      members.push(`${JSON.stringify(random.pick([...Object.keys(part), 'id', 'x']))}:${odd}`)
    return `{${members.join()}}`
  }
  return write(value)
}
