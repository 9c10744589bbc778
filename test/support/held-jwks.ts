// An identity provider that answers requests for its keys only when the test allows it.
import type { ServerResponse } from 'node:http'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import type { Issuer } from '../../src/tenant/policy.js'
import { localServer } from './local-server.js'
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
  const url = await localServer((_request, response) => requests.push(response))
  return {
    issuer: {
      name: 'provider',
      algorithms: ['ES256'],
      claims: { user: 'sub', name: 'name', roles: 'roles', info: 'info' },
      key: { type: 'JWKSURI', uri: `${url}jwks` },
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
