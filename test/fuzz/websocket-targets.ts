// Sends an input to a WebSocket endpoint, and checks that each command is answered, or that the connection is
// closed with a code of the list.
import { WebSocket } from 'ws'
import { errorCodes } from '../../src/errors.js'
import { isRecord, parseJson } from '../../src/json.js'
import { centrifugeErrorNumbers, closeCodes } from '../../src/protocol/codes.js'
import { centrifugeJson } from '../../src/protocol/centrifuge/json.js'
import { centrifugeProtobuf } from '../../src/protocol/centrifuge/protobuf.js'
import {
  readMessage,
  splitDelimited,
  writeDelimited,
} from '../../src/protocol/centrifuge/protobuf-message.js'
import { WireCommand, WireReply } from '../../src/protocol/centrifuge/schema.js'
import { chatCodec } from '../../src/protocol/chat/codec.js'
import type { Codec } from '../../src/protocol/commands.js'
import { within } from '../support/waiting.js'
import type { FuzzInput } from './input.js'
import { fuzzToken, path } from './rig.js'

const defaultAnswerMsMax = 30_000
/** The id of the command that ends every input. */
const lastId = 4_294_967_295

interface Endpoint {
  readonly codec: Codec
  readonly path: string
  readonly protocols: readonly string[]
  readonly last: Buffer
  /** Splits a message of the server into its answers. */
  read(message: Buffer): readonly unknown[]
}

const endpoints: Readonly<Record<'chat' | 'centrifuge-json' | 'centrifuge-protobuf', Endpoint>> = {
  chat: {
    codec: chatCodec,
    path: `${path}/ws`,
    protocols: [],
    last: Buffer.from(JSON.stringify({ type: 'presence', room: 'lobby', id: lastId })),
    read: (message) => [parseJson(message.toString())],
  },
  'centrifuge-json': {
    codec: centrifugeJson,
    path: `${path}/connection/websocket`,
    protocols: [],
    last: Buffer.from(JSON.stringify({ id: lastId, rpc: { method: 'last' } })),
    read: (message) => message.toString().split('\n').map(parseJson),
  },
  'centrifuge-protobuf': {
    codec: centrifugeProtobuf,
    path: `${path}/connection/websocket`,
    protocols: ['centrifuge-protobuf'],
    last: Buffer.from(writeDelimited(WireCommand, { id: lastId, rpc: { method: 'last' } })),
    read: (message) => [...splitDelimited(message)].map((reply) => readMessage(WireReply, reply)),
  },
}

/** A WebSocket library refuses text that is not UTF-8 and messages above its limit with these. */
const libraryCodes = [1007, 1009]
const knownCodes = new Set([...libraryCodes, ...Object.values(closeCodes).map(({ code }) => code)])

/** Returns what is wrong, as a sentence; undefined when nothing is. */
export async function runAtEndpoint(
  { parts, target }: FuzzInput,
  {
    anyCode,
    answerMsMax = defaultAnswerMsMax,
    port,
  }: { port: number; anyCode: boolean; answerMsMax?: number },
): Promise<string | undefined> {
  if (target === 'api' || target === 'http') throw new Error(`${target} is no WebSocket endpoint`)
  const endpoint = endpoints[target]
  const token = target === 'chat' ? `?token=${await fuzzToken('ann')}` : ''
  const socket = new WebSocket(`ws://127.0.0.1:${port}${endpoint.path}${token}`, [...endpoint.protocols])
  const answers = new Answers(endpoint, socket)
  try {
    const opened = await within('the handshake', answers.opened, answerMsMax)
    if (!opened) return 'the handshake was refused'
    // Everything is noted before anything can be answered.
    for (const part of [...parts, endpoint.last]) answers.expect(part)
    for (const part of [...parts, endpoint.last]) socket.send(part, { binary: endpoint.codec.binary })
    const closed = await within('the answer to each command', answers.complete, answerMsMax).catch(
      (error: Error) => `${error.message}; open: ${answers.open.join(', ')}`,
    )
    if (typeof closed === 'string') return closed
    countCode(closed === undefined ? 'all answered' : `closed ${closed}`)
    if (closed !== undefined && !knownCodes.has(closed) && !(anyCode && closed >= 3_000 && closed < 5_000))
      return `the connection was closed with ${closed}, which is not in the list`
    return answers.problem
  } finally {
    socket.terminate()
  }
}

class Answers {
  readonly opened: Promise<boolean>
  /** Resolves with the close code, or with undefined when all commands are answered. */
  readonly complete: Promise<number | undefined>
  problem: string | undefined
  readonly #endpoint: Endpoint
  readonly #open = new Map<string, number>()
  #onComplete: () => void = () => {}

  constructor(endpoint: Endpoint, socket: WebSocket) {
    this.#endpoint = endpoint
    this.opened = new Promise((resolve) => {
      socket.once('open', () => resolve(true))
      socket.once('close', () => resolve(false))
    })
    this.complete = new Promise((resolve) => {
      this.#onComplete = () => resolve(undefined)
      socket.once('close', (code) => resolve(code))
    })
    socket.on('error', () => {})
    socket.on('message', (message: Buffer) => {
      for (const answer of endpoint.read(message)) this.#accept(answer)
    })
  }

  /** The ids that are not answered yet. */
  get open(): string[] {
    return [...this.#open].filter(([, count]) => count > 0).map(([id]) => id)
  }

  /** Notes the commands of a message that must be answered. */
  expect(part: Buffer): void {
    for (const item of this.#endpoint.codec.decode(part)) {
      if (item.kind !== 'command' && item.kind !== 'refused') continue
      const id = idOf(item.ref)
      if (id !== undefined) this.#open.set(id, (this.#open.get(id) ?? 0) + 1)
    }
  }

  #accept(answer: unknown): void {
    if (!isRecord(answer)) {
      this.problem ??= `the server sent ${JSON.stringify(answer)}`
      return
    }
    this.problem ??= problemOf(answer)
    const { id } = answer
    if (typeof id !== 'number' && typeof id !== 'string') return
    const key = String(id)
    this.#open.set(key, (this.#open.get(key) ?? 0) - 1)
    // Acknowledgements of publishes may come later than the answers to commands that follow them.
    if (this.open.length === 0) this.#onComplete()
  }
}

/** Returns the id that the answer repeats; undefined when the client wants none. */
function idOf(ref: unknown): string | undefined {
  if (typeof ref === 'number') return ref === 0 ? undefined : String(ref)
  if (!isRecord(ref) || typeof ref['id'] !== 'string') return undefined
  return String(parseJson(ref['id']))
}

function problemOf(answer: Readonly<Record<string, unknown>>): string | undefined {
  const { code, error, event } = answer
  if (event === 'error') return codeProblem(code)
  if (!isRecord(error)) return undefined
  const numbers: unknown[] = Object.values(centrifugeErrorNumbers)
  return numbers.includes(error['code'])
    ? codeProblem(String(error['message']).split(':')[0])
    : `error ${JSON.stringify(error)}`
}

/** How often each error code and close code was seen, to judge how far the inputs get. */
export const seenCodes = new Map<string, number>()

function countCode(code: string): void {
  seenCodes.set(code, (seenCodes.get(code) ?? 0) + 1)
}

/** Returns what is wrong with an error code; INTERNAL is a bug. */
export function codeProblem(code: unknown): string | undefined {
  countCode(String(code))
  const known = typeof code === 'string' && Object.hasOwn(errorCodes, code) && code !== 'INTERNAL'
  return known ? undefined : `an error has the code ${JSON.stringify(code)}`
}
