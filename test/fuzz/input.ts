// The inputs of the fuzzer, and the files that keep them.
import { isUtf8 } from 'node:buffer'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { apiKey, fuzzToken } from './rig.js'

export const targetNames = ['chat', 'centrifuge-json', 'centrifuge-protobuf', 'api', 'http'] as const
export type TargetName = (typeof targetNames)[number]

/**
 * What one connection sends. At the WebSocket endpoints each part is a message. For `api` the parts are the
 * method and the body, and for `http` each is a piece of a TCP stream.
 */
export interface FuzzInput {
  readonly target: TargetName
  readonly parts: readonly Buffer[]
}

/** Parts that are UTF-8 are texts, so that a person can read them. */
const Stored = z.strictObject({
  target: z.enum(targetNames),
  parts: z.array(z.union([z.string(), z.strictObject({ base64: z.base64() })])),
})

export function toText({ parts, target }: FuzzInput): string {
  const stored: z.infer<typeof Stored> = {
    target,
    parts: parts.map((part) => (isUtf8(part) ? part.toString() : { base64: part.toString('base64') })),
  }
  return `${JSON.stringify(stored, undefined, 2)}\n`
}

/** Reads an input. `${ann}`, `${board}`, `${expired}` and `${key}` become tokens and the API key. */
export async function fromText(text: string): Promise<FuzzInput> {
  const { parts, target } = Stored.parse(JSON.parse(text))
  const filled = parts.map(async (part) =>
    typeof part === 'string' ? Buffer.from(await fill(part)) : Buffer.from(part.base64, 'base64'),
  )
  return { target, parts: await Promise.all(filled) }
}

async function fill(text: string): Promise<string> {
  const values: Record<string, string> = {
    ann: await fuzzToken('ann', { channels: ['kept'] }),
    board: await fuzzToken('ann', { channel: 'board:1' }),
    expired: await fuzzToken('ann', { exp: 1 }),
    key: apiKey,
  }
  return text.replaceAll(/\$\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole)
}

const corpusFolder = fileURLToPath(new URL('corpus/', import.meta.url))

/** Returns all kept inputs, by the names of their files. */
export async function readCorpus(): Promise<Map<string, FuzzInput>> {
  const corpus = new Map<string, FuzzInput>()
  for (const file of (await readdir(corpusFolder)).toSorted())
    corpus.set(file, await fromText(await readFile(join(corpusFolder, file), 'utf8')))
  return corpus
}
