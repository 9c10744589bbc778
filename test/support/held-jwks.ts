// An identity provider that answers requests for its keys only when the test allows it.
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { onTestFinished } from 'vitest'
import type { Issuer } from '../../src/tenant/policy.js'
import { Arrivals } from './waiting.js'

export interface HeldJwks {
  readonly issuer: Issuer
  sign(user: string): Promise<string>
  /** Resolves when the keys are requested; the returned function sends them. */
  requested(): Promise<() => void>
}

export async function heldJwks(): Promise<HeldJwks> {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' }] })
  const requests = new Arrivals<ServerResponse>('a request for the keys')
  const server = createServer((_request, response) => requests.push(response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  return {
    issuer: {
      name: 'provider',
      algorithms: ['ES256'],
      claims: { user: 'sub', name: 'name', roles: 'roles', info: 'info' },
      key: { type: 'JWKSURI', uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks` },
    },
    sign: (user) =>
      new SignJWT({ sub: user })
        .setProtectedHeader({ alg: 'ES256', kid: 'k' })
        .setExpirationTime('1h')
        .sign(privateKey),
    async requested() {
      const response = await requests.next()
      return () => void response.setHeader('content-type', 'application/json').end(keys)
    },
  }
}
