// A ChatTenant's token sources: whose signatures count, and where a token's facts stand.
import { z } from 'zod'
import { celRules } from './cel.js'
import { signingAlgorithms } from '../tenant/policy.js'
import { KeyRef, Label, namedList, uniqueNames } from './common.js'

/** Where the key may be given, by type: exactly one of these. */
const keyFields = {
  SharedKey: ['keyRef', 'generate'],
  PublicKey: ['publicKey', 'keyRef', 'generate'],
  JWKS: ['jwks'],
  JWKSURI: ['jwksURI'],
} as const
const allKeyFields = ['keyRef', 'publicKey', 'jwks', 'jwksURI', 'generate'] as const

/** What the credentials Secret holds beside the keys, by the Service Binding specification or by ours: no generated key is called so. */
const reservedSecretKeys = ['type', 'provider', 'uri', 'host', 'port', 'tenant']

const claimName = z.string().min(1).max(255)

const httpsMessage = 'Keys are fetched over https only.'

/** The checks of `superRefine` below, for the API server. */
const authRules = celRules([
  ...allKeyFields.map((field) => {
    const takers = Object.entries(keyFields).filter(([, fields]) => fields.some((name) => name === field))
    const types = takers.map(([type]) => type)
    return {
      rule: `!has(self.${field}) || self.type in [${types.map((type) => `'${type}'`).join(', ')}]`,
      message: `${field} goes with type ${types.join(' or ')} only.`,
      fieldPath: `.${field}`,
      reason: 'FieldValueForbidden' as const,
    }
  }),
  ...Object.entries(keyFields).map(([type, fields]) => ({
    rule: `self.type != '${type}' || [${fields.map((field) => `has(self.${field})`).join(', ')}].exists_one(given, given)`,
    message: `Type ${type} needs exactly one of: ${fields.join(', ')}.`,
    fieldPath: '.type',
    reason: 'FieldValueRequired' as const,
  })),
  {
    rule: "!has(self.algorithms) || self.algorithms.all(name, name.startsWith('HS') == (self.type == 'SharedKey'))",
    message: 'HS256, HS384 and HS512 go with type SharedKey, and the others with the other types.',
    fieldPath: '.algorithms',
  },
  {
    rule: "!has(self.generate) || (self.generate.algorithm == 'HS256') == (self.type == 'SharedKey')",
    message: 'HS256 goes with type SharedKey, ES256 and EdDSA with PublicKey.',
    fieldPath: '.generate',
  },
  {
    rule: `!has(self.generate) || !(self.name in [${reservedSecretKeys.map((name) => `'${name}'`).join(', ')}])`,
    message: `A generated key cannot be called ${reservedSecretKeys.join(', ')}: the Secret has these for something else.`,
    fieldPath: '.name',
  },
])

const Auth = z
  .strictObject({
    name: Label.describe('Name of the source, for messages and merging.'),
    type: z
      .enum(['SharedKey', 'PublicKey', 'JWKS', 'JWKSURI'])
      .describe(
        'A secret shared with the backend that signs; a public key; a set of public keys inline; the same at a URL.',
      ),
    algorithms: z
      .array(z.enum(signingAlgorithms))
      .min(1)
      .max(signingAlgorithms.length)
      .optional()
      .describe(
        'Signature algorithms that count. Default: by the key (HS256; RS256; ES256, ES384 or ES512; EdDSA).',
      ),
    issuer: z
      .string()
      .min(1)
      .max(2048)
      .optional()
      .describe('What the claim "iss" must be. Absent: it is not looked at.'),
    audience: z
      .string()
      .min(1)
      .max(2048)
      .optional()
      .describe('What the claim "aud" must be or hold. Absent: it is not looked at.'),
    keyRef: KeyRef.optional().describe(
      'For SharedKey: the secret’s raw bytes. For PublicKey: the key in PEM.',
    ),
    publicKey: z.string().min(1).max(16_384).optional().describe('For PublicKey: the key in PEM.'),
    jwks: z
      .strictObject({
        keys: z
          .array(
            z
              .looseObject({ kty: z.string().max(16).describe('RSA, EC or OKP.') })
              .meta({ 'x-kubernetes-preserve-unknown-fields': true }),
          )
          .min(1)
          .max(32)
          .describe('Public keys as RFC 7517 writes them.'),
      })
      .optional()
      .describe('For JWKS: the key set.'),
    jwksURI: z
      .string()
      .max(2048)
      .refine((uri) => uri.startsWith('https://'), httpsMessage)
      .meta(
        celRules([
          { rule: "self.startsWith('https://')", message: httpsMessage },
          {
            rule: "!self.matches('^[a-z]+://[^/?#]*@')",
            message: 'A URL that everybody who sees the tenant may read has no user name or password in it.',
          },
        ]),
      )
      .optional()
      .describe('For JWKSURI: https URL of the key set.'),
    generate: z
      .strictObject({
        algorithm: z
          .enum(['HS256', 'ES256', 'EdDSA'])
          .describe('HS256 for SharedKey, the others for PublicKey.'),
      })
      .optional()
      .describe(
        'The controller makes a key and keeps it in the tenant’s credentials Secret under the name of this entry.',
      ),
    claims: z
      .strictObject({
        user: claimName.default('sub').describe('Claim with the user’s name.'),
        name: claimName.default('name').describe('Claim with the name to show.'),
        roles: claimName.default('roles').describe('Claim with the list of roles.'),
        info: claimName.default('info').describe('Claim with what other clients may see of the user.'),
      })
      .prefault({})
      .describe('Where facts stand in the token. Dots descend: "realm_access.roles".'),
  })
  .superRefine((auth, context) => {
    const { type, algorithms = [], generate } = auth
    const add = (path: string, message: string): void =>
      context.addIssue({ code: 'custom', path: [path], message })

    const wanted: readonly string[] = keyFields[type]
    const given = allKeyFields.filter((field) => auth[field] !== undefined)
    for (const field of given.filter((name) => !wanted.includes(name)))
      add(field, `Type ${type} takes no ${field}.`)
    if (given.filter((name) => wanted.includes(name)).length !== 1)
      add('type', `Type ${type} needs exactly one of: ${wanted.join(', ')}.`)

    // A public key taken for a shared secret would let anybody sign.
    const misfits = algorithms.filter((name) => name.startsWith('HS') !== (type === 'SharedKey'))
    if (misfits.length > 0) add('algorithms', `${misfits.join(', ')} does not go with type ${type}.`)
    if (generate && (generate.algorithm === 'HS256') !== (type === 'SharedKey'))
      add('generate', `${generate.algorithm} does not go with type ${type}.`)
    if (generate && reservedSecretKeys.includes(auth.name))
      add('name', `A generated key cannot be called "${auth.name}": the Secret has that for something else.`)
  })
  .meta(authRules)
export type Auth = z.output<typeof Auth>

export const AuthList = z.array(Auth).max(8).superRefine(uniqueNames).meta(namedList)
