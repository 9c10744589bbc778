// What prevents a gateway from starting: an invalid configuration ends it with a message, and a missing
// dependency makes it wait.
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { endPrograms } from '../support/child-process.js'
import { GatewayProcess, ManifestFolder, type GatewayProcessOptions } from '../support/gateway-process.js'
import {
  endRedisProcesses,
  freePort,
  startRedis,
  startReplica,
  until,
  type RedisProcess,
} from '../support/redis-processes.js'
import { parsedLines } from '../support/log-lines.js'
import { within } from '../support/waiting.js'

const password = 'correct-horse-battery'
const wrongPassword = 'incorrect-donkey'

let redis: RedisProcess
let manifests: ManifestFolder
beforeAll(async () => {
  redis = await startRedis({
    config: [`requirepass ${password}`, `masterauth ${password}`],
    cliArgs: ['--no-auth-warning', '-a', password],
  })
  manifests = await ManifestFolder.make()
})
afterAll(async () => {
  await endPrograms()
  await endRedisProcesses()
  await manifests.remove()
})

/** The exit code of a start that fails, and the lines it prints besides its log. */
async function failed(options: GatewayProcessOptions): Promise<{ code: number | null; sentences: string[] }> {
  const { program } = GatewayProcess.spawn(options)
  onTestFinished(() => program.kill())
  const { code } = await within('the end of a start that must fail', program.ended)
  expect(program.output).not.toContain(password)
  expect(program.output).not.toContain(wrongPassword)
  return {
    code,
    sentences: program.output.split('\n').filter((line) => line !== '' && !line.startsWith('{')),
  }
}

const urlOf = (server: { port: number }, secret = password) => `redis://:${secret}@127.0.0.1:${server.port}`
const withTenants = () => ['--tenants', manifests.path]

describe('exits with 78 and one message:', () => {
  test('a wrong password', async () => {
    expect(await failed({ redis: urlOf(redis, wrongPassword), args: withTenants() })).toEqual({
      code: 78,
      sentences: [`parley: Redis at 127.0.0.1:${redis.port} rejects the user or the password`],
    })
  })

  test('no password', async () => {
    expect(await failed({ redis: `redis://127.0.0.1:${redis.port}`, args: withTenants() })).toEqual({
      code: 78,
      sentences: [`parley: Redis at 127.0.0.1:${redis.port} requires a password, and none is configured`],
    })
  })

  test('a replica as master', async () => {
    const replica = await startReplica(redis, {
      config: [`requirepass ${password}`, `masterauth ${password}`],
    })
    expect(await failed({ redis: urlOf(replica), args: withTenants() })).toEqual({
      code: 78,
      sentences: [
        `parley: Redis at 127.0.0.1:${replica.port} is a replica: use the address of its master, or of the Sentinels that monitor it (redis+sentinel://…)`,
      ],
    })
  })

  test('no source of tenants', async () => {
    expect(await failed({ redis: urlOf(redis) })).toEqual({
      code: 78,
      sentences: [
        'parley: The gateway does not know where to read its tenants: add --tenants with a folder of manifests, or --sealing-key-file to follow the catalog that the controller writes to Redis',
      ],
    })
  })

  test('no source of tenants, while the gateway already connects to Sentinels', async () => {
    const port = await freePort()
    expect(await failed({ redis: `redis+sentinel://127.0.0.1:${port}/parley` })).toMatchObject({ code: 78 })
  })

  test('a folder that does not exist', async () => {
    expect(await failed({ redis: urlOf(redis), args: ['--tenants', 'nowhere'] })).toEqual({
      code: 78,
      sentences: ['parley: The tenants folder "nowhere" cannot be read: ENOENT.'],
    })
  })

  test('a sealing key file that does not exist', async () => {
    expect(await failed({ redis: urlOf(redis), args: ['--sealing-key-file', 'nowhere'] })).toEqual({
      code: 78,
      sentences: ['parley: The sealing key file "nowhere" cannot be read: ENOENT'],
    })
  })

  test('a port that is in use', async () => {
    const args = [...withTenants(), '--port', String(redis.port)]
    expect(await failed({ redis: urlOf(redis), args })).toEqual({
      code: 78,
      sentences: [
        `parley: Port ${redis.port} of 127.0.0.1 (clients) is in use by another program: stop that program or choose another port (--port)`,
      ],
    })
  })
})

test('the password may come from the environment', async () => {
  const gateway = await GatewayProcess.start({
    redis: `redis://127.0.0.1:${redis.port}`,
    args: withTenants(),
    env: { PARLEY_REDIS_PASSWORD: password },
  })
  await until('a ready gateway', async () => (await gateway.ops('/readyz')).status === 200)
  expect(await gateway.ops('/readyz')).toEqual({ status: 200, body: { ready: true, reasons: [] } })
  await gateway.stop()
  expect(gateway.program.output).not.toContain(password)
})

describe('an unavailable Redis', () => {
  test('makes the gateway wait, and /readyz has the reason', async () => {
    const late = await startRedis()
    await late.kill()
    const gateway = await GatewayProcess.launch({
      redis: `redis://127.0.0.1:${late.port}`,
      args: withTenants(),
    })
    await gateway.logged('waiting for Redis')
    expect(await gateway.ops('/readyz')).toEqual({
      status: 503,
      body: {
        ready: false,
        reasons: [
          expect.stringMatching(/^Redis has not been reached yet: .*ECONNREFUSED/),
          'The revocations have not been read from Redis yet',
        ],
      },
    })
    expect(await gateway.ops('/healthz')).toMatchObject({ status: 200 })
    await late.start()
    await gateway.serving()
    await until('a ready gateway', async () => (await gateway.ops('/readyz')).status === 200)
    expect(await gateway.stop()).toEqual({ code: 0, signal: null })
  })

  test('is logged once, however many links wait for the Sentinels', async () => {
    const port = await freePort()
    const gateway = await GatewayProcess.launch({
      redis: `redis+sentinel://127.0.0.1:${port}/parley`,
      args: withTenants(),
    })
    await until('the reason', () => gateway.program.output.includes('ECONNREFUSED'))
    await gateway.stop()
    const warnings = parsedLines(gateway.program.output).filter(({ level }) => Number(level) >= 40)
    expect(warnings.map(({ msg }) => msg)).toEqual(warnings.map(() => 'waiting for Redis'))
    const reasons = warnings.map(({ reason }) => reason)
    expect(reasons).toEqual([...new Set(reasons)])
  })

  test('does not prevent the gateway from stopping', async () => {
    const gateway = await GatewayProcess.launch({
      redis: `redis://127.0.0.1:${await freePort()}`,
      args: withTenants(),
    })
    expect(await gateway.stop()).toEqual({ code: 0, signal: null })
  })
})
