// The schema of ChatCredential: a named API key for one backend of a tenant, in the namespace of the tenant.
import { z } from 'zod'
import { celRules } from './cel.js'
import { ChannelSelector, Operations } from './channel-rules.js'
import { Rotation } from './chat-tenant.js'
import { duration, KeyRef, Label, ObjectName, resource } from './common.js'

const importedMessage =
  'An imported key cannot be rotated or stored in another Secret by the controller: its owner replaces it.'

export const ChatCredentialSpec = z
  .strictObject({
    tenantRef: z
      .strictObject({ name: Label.describe('The name of a ChatTenant in the same namespace.') })
      .meta(
        celRules([
          {
            rule: 'self.name == oldSelf.name',
            message:
              'The tenant of a key cannot be changed: create another ChatCredential for the other tenant.',
            fieldPath: '.name',
          },
        ]),
      )
      .describe('The tenant whose server API the key gives access to. It cannot be changed later.'),
    role: z
      .enum(['Publisher', 'Admin', 'ReadOnly'])
      .default('Publisher')
      .describe(
        'The permissions of the key. Publisher publishes messages. ReadOnly reads history and presence. ' +
          'Admin may call every method, including those that disconnect users.',
      ),
    scopes: z
      .array(
        z.strictObject({
          match: ChannelSelector.describe('The channels that the scope covers.'),
          operations: Operations.describe('The operations that are allowed on these channels.'),
        }),
      )
      .max(32)
      .default([])
      .describe('Limits the role to some channels. Default: all channels of the tenant.'),
    ttl: duration({ min: '1m', max: '8760h' })
      .optional()
      .describe('How long the key is valid. Default: until it is deleted or rotated.'),
    rotation: Rotation.optional(),
    secretName: ObjectName.optional().describe(
      'The Secret in which the controller stores the key. Default: "<credential>-credential".',
    ),
    importSecretRef: KeyRef.optional().describe(
      'A Secret with a key of your own, which is used instead of a generated key.',
    ),
  })
  .superRefine(({ importSecretRef, rotation, secretName }, context) => {
    if (!importSecretRef) return
    for (const [path, value] of Object.entries({ rotation, secretName })) {
      if (value !== undefined)
        context.addIssue({
          code: 'custom',
          path: [path],
          message: importedMessage,
        })
    }
  })
  .meta(
    celRules(
      ['rotation', 'secretName'].map((field) => ({
        rule: `!has(self.importSecretRef) || !has(self.${field})`,
        message: importedMessage,
        fieldPath: `.${field}`,
        reason: 'FieldValueForbidden',
      })),
    ),
  )

export const ChatCredential = resource('ChatCredential', ChatCredentialSpec)
export type ChatCredential = z.output<typeof ChatCredential>
