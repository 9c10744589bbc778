// The schema of `spec.auth` of a ChatTenant: the keys that verify tokens, and the claims that hold the data
// about a user.
import { z } from 'zod'
import { celRules } from './cel.js'
import { signingAlgorithms } from '../tenant/policy.js'
import { KeyRef, Label, namedList, uniqueNames } from './common.js'

/** The fields that may hold the key, by type. Exactly one of them must be set. */
const keyFields = {
  SharedKey: ['keyRef', 'generate'],
  PublicKey: ['publicKey', 'keyRef', 'generate'],
  JWKS: ['jwks'],
  JWKSURI: ['jwksURI'],
} as const
const allKeyFields = ['keyRef', 'publicKey', 'jwks', 'jwksURI', 'generate'] as const

/**
 * The keys of the credentials Secret that do not hold generated keys. The Service Binding specification or
 * Parley defines them, so no generated key may have one of these names.
 */
const reservedSecretKeys = ['type', 'provider', 'uri', 'host', 'port', 'tenant']

const claimName = z.string().min(1).max(255)

const httpsMessage = 'A key set is fetched over https only.'

/** The same checks as `superRefine` below, as CEL rules for the API server. */
const authRules = celRules([
  ...allKeyFields.map((field) => {
    const accepting = Object.entries(keyFields).filter(([, fields]) => fields.some((name) => name === field))
    const types = accepting.map(([type]) => type)
    return {
      rule: `!has(self.${field}) || self.type in [${types.map((type) => `'${type}'`).join(', ')}]`,
      message: `${field} is allowed only with type ${types.join(' or ')}.`,
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
    rule:
      "!has(self.algorithms) || self.algorithms.all(name, name.startsWith('HS') == (self.type == " +
      "'SharedKey'))",
    message: 'HS256, HS384 and HS512 require type SharedKey; all other algorithms require another type.',
    fieldPath: '.algorithms',
  },
  {
    rule: "!has(self.generate) || (self.generate.algorithm == 'HS256') == (self.type == 'SharedKey')",
    message: 'HS256 requires type SharedKey; ES256 and EdDSA require type PublicKey.',
    fieldPath: '.generate',
  },
  {
    rule: `!has(self.generate) || !(self.name in [${reservedSecretKeys.map((name) => `'${name}'`).join(', ')}])`,
    message:
      `A generated key cannot have the name ${reservedSecretKeys.join(', ')}: the Secret uses ` +
      'these keys for other values.',
    fieldPath: '.name',
  },
])

const Auth = z
  .strictObject({
    name: Label.describe(
      'The name of this token source. Messages quote it, and server-side apply merges entries by it.',
    ),
    type: z
      .enum(['SharedKey', 'PublicKey', 'JWKS', 'JWKSURI'])
      .describe(
        'The kind of key. SharedKey: a secret that the signing backend shares. PublicKey: one public ' +
          'key. JWKS: an inline set of public keys. JWKSURI: a set of public keys at a URL.',
      ),
    algorithms: z
      .array(z.enum(signingAlgorithms))
      .min(1)
      .max(signingAlgorithms.length)
      .optional()
      .describe(
        'The signature algorithms that are accepted. Default: the algorithm of the key (HS256; ' +
          'RS256; ES256, ES384 or ES512; EdDSA).',
      ),
    issuer: z
      .string()
      .min(1)
      .max(2048)
      .optional()
      .describe('The value that the claim "iss" must have. Default: the claim is not checked.'),
    audience: z
      .string()
      .min(1)
      .max(2048)
      .optional()
      .describe('The value that the claim "aud" must equal or contain. Default: the claim is not checked.'),
    keyRef: KeyRef.optional().describe(
      'The Secret that holds the key. For SharedKey: the raw bytes of the secret. For PublicKey: the ' +
        'key in PEM.',
    ),
    publicKey: z.string().min(1).max(16_384).optional().describe('For PublicKey: the public key in PEM.'),
    jwks: z
      .strictObject({
        keys: z
          .array(
            z
              .looseObject({ kty: z.string().max(16).describe('The key type: RSA, EC or OKP.') })
              .meta({ 'x-kubernetes-preserve-unknown-fields': true }),
          )
          .min(1)
          .max(32)
          .describe('The public keys, in the format of RFC 7517.'),
      })
      .optional()
      .describe('For JWKS: the inline key set.'),
    jwksURI: z
      .string()
      .max(2048)
      .refine((uri) => uri.startsWith('https://'), httpsMessage)
      .meta(
        celRules([
          { rule: "self.startsWith('https://')", message: httpsMessage },
          {
            rule: "!self.matches('^[a-z]+://[^/?#]*@')",
            message:
              'The URL must not contain a user name or a password, because everyone who can read the ' +
              'tenant can read them.',
          },
        ]),
      )
      .optional()
      .describe('For JWKSURI: the https URL of the key set.'),
    generate: z
      .strictObject({
        algorithm: z
          .enum(['HS256', 'ES256', 'EdDSA'])
          .describe('The algorithm of the generated key: HS256 for SharedKey, ES256 or EdDSA for PublicKey.'),
      })
      .optional()
      .describe(
        'The controller generates a key and stores it in the credentials Secret of the tenant, under ' +
          'the name of this entry.',
      ),
    claims: z
      .strictObject({
        user: claimName.default('sub').describe('The claim that identifies the user.'),
        name: claimName.default('name').describe('The claim with the display name.'),
        roles: claimName.default('roles').describe('The claim with the list of roles.'),
        info: claimName
          .default('info')
          .describe('The claim with the data that other clients may see of the user.'),
      })
      .prefault({})
      .describe(
        'The claims that hold the data about the user. A dot selects a field of an object: ' +
          '"realm_access.roles".',
      ),
  })
  .superRefine((auth, context) => {
    const { type, algorithms = [], generate } = auth
    const add = (path: string, message: string): void =>
      context.addIssue({ code: 'custom', path: [path], message })

    const accepted: readonly string[] = keyFields[type]
    const given = allKeyFields.filter((field) => auth[field] !== undefined)
    for (const field of given.filter((name) => !accepted.includes(name)))
      add(field, `Type ${type} does not accept ${field}.`)
    if (given.filter((name) => accepted.includes(name)).length !== 1)
      add('type', `Type ${type} needs exactly one of: ${accepted.join(', ')}.`)

    // If a public key were used as a shared secret, everyone could sign tokens.
    const unsuitable = algorithms.filter((name) => name.startsWith('HS') !== (type === 'SharedKey'))
    if (unsuitable.length > 0) add('algorithms', `${unsuitable.join(', ')} cannot be used with type ${type}.`)
    if (generate && (generate.algorithm === 'HS256') !== (type === 'SharedKey'))
      add('generate', `${generate.algorithm} cannot be used with type ${type}.`)
    if (generate && reservedSecretKeys.includes(auth.name))
      add(
        'name',
        `A generated key cannot have the name "${auth.name}": the Secret uses that key for another value.`,
      )
  })
  .meta(authRules)
export type Auth = z.output<typeof Auth>

export const AuthList = z.array(Auth).max(8).superRefine(uniqueNames).meta(namedList)
