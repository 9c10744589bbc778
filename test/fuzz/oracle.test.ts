// The fuzzer notices what it is for: servers with seeded faults fail its checks, and the same seed makes the
// same inputs.
import { readFile, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { WebSocketServer, type WebSocket } from 'ws'
import { Campaign } from './campaign.js'
import { runAsHttp, runAtApi } from './http-targets.js'
import { fromText, readCorpus, toText, type FuzzInput } from './input.js'
import { mutated } from './mutations.js'
import { Random } from '../support/random.js'
import { runAtEndpoint } from './websocket-targets.js'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.closeAllConnections()
})

async function portOf(server: Server): Promise<number> {
  servers.push(server)
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

async function faulty(onMessage: (socket: WebSocket, text: string) => void): Promise<number> {
  const server = createServer()
  new WebSocketServer({ server }).on('connection', (socket) => {
    socket.on('message', (data: Buffer) => onMessage(socket, data.toString()))
  })
  return portOf(server)
}

const json: FuzzInput = { target: 'centrifuge-json', parts: [Buffer.from('{"id":7,"rpc":{"method":"x"}}')] }
const idOf = (text: string): number => (JSON.parse(text) as { id: number }).id

test.each<[what: string, onMessage: (socket: WebSocket, text: string) => void, problem: string]>([
  ['a close code of its own', (socket) => socket.close(3999), 'closed with 3999'],
  [
    'a bug as an error',
    (socket, text) => socket.send(`{"id":${idOf(text)},"error":{"code":100,"message":"INTERNAL: x"}}`),
    'the code "INTERNAL"',
  ],
  [
    'an error number of its own',
    (socket, text) => socket.send(`{"id":${idOf(text)},"error":{"code":77,"message":"BAD_REQUEST: x"}}`),
    'error {"code":77',
  ],
  ['text that is not JSON', (socket, text) => socket.send(`{"id":${idOf(text)}}\nx`), 'the server sent'],
  ['a connection that is cut', (socket) => socket.terminate(), 'closed with 1006'],
])('%s is noticed', async (_what, onMessage, problem) => {
  const port = await faulty(onMessage)
  expect(await runAtEndpoint(json, { port, anyCode: false })).toContain(problem)
})

test('a command without an answer is noticed', async () => {
  const port = await faulty((socket, text) => {
    if (idOf(text) !== 7) socket.send(`{"id":${idOf(text)}}`)
  })
  expect(await runAtEndpoint(json, { port, anyCode: false, answerMsMax: 500 })).toContain('open: 7')
})

test('a response outside the list is noticed, at the API and over HTTP', async () => {
  const port = await portOf(
    createServer((_request, response) => void response.writeHead(502).end('{"code":"BROKEN"}')),
  )
  expect(await runAtApi({ target: 'api', parts: [Buffer.from('info')] }, { port })).toContain('502')
  const request = Buffer.from('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  expect(await runAsHttp({ target: 'http', parts: [request] }, { port })).toContain('502')
})

describe('bugs that a gateway counts', () => {
  /** A gateway that answers every request but the first one well, which fails and counts a bug. */
  async function faultyOnce(bugs: () => number) {
    const health = { openFiles: 0, residentBytes: 0, connections: 0 }
    let answered = 0
    const server = createServer((_request, response) => {
      answered += 1
      response.writeHead(answered === 1 ? 502 : 404, { connection: 'close' }).end('{"code":"NOT_FOUND"}')
    })
    const port = await portOf(server)
    const program = { ended: new Promise<never>(() => {}), output: '' }
    const end = async () => {}
    const rig = { gateway: { port, program }, health: async () => ({ ...health, bugs: bugs() }), end }
    return async () => ({ rig, witness: { problem: undefined, received: 1, end: async () => undefined } })
  }
  const options = { seed: 1, inputs: 0, durationMs: Infinity, only: 'http' }

  test('are in the report of their input, and smaller inputs do not seem to cause them', async () => {
    const campaign = await Campaign.start(options, await faultyOnce(() => 1))
    const report = await campaign.run()
    expect(report).toContain('In the same round the gateway counted 1 bugs')
    const file = /is in (\S+\.json);/.exec(report ?? '')?.[1] ?? ''
    const { parts } = await fromText(await readFile(file, 'utf8'))
    await rm(file)
    const firstOfCorpus = [...(await readCorpus()).values()].find(({ target }) => target === 'http')
    expect(parts).toEqual(firstOfCorpus?.parts)
  })
})

test('the same seed makes the same inputs, and another seed others', async () => {
  const seeds = [...(await readCorpus()).values()]
  const inputsOf = (seed: number): string[] => {
    const random = new Random(seed)
    return Array.from({ length: 100 }, () => toText(mutated(seeds, random)))
  }
  expect(inputsOf(1)).toEqual(inputsOf(1))
  expect(inputsOf(1)).not.toEqual(inputsOf(2))
})

test('an input that was written to a file is read back byte by byte', async () => {
  const seeds = [...(await readCorpus()).values()]
  const random = new Random(3)
  for (let count = 0; count < 200; count += 1) {
    const input = mutated(seeds, random)
    expect(await fromText(toText(input))).toEqual(input)
  }
})
