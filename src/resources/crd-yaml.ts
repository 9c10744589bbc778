// CRDs as the files of manifests/crds hold them.
import type { CustomResourceDefinition } from './crd.js'
import { yamlText } from './yaml.js'

/** One document, without the dashes before it. In an order that does not depend on the schema's: a change there would look like one here. */
export function crdYaml({ kind, manifest }: CustomResourceDefinition): string {
  const note = `# ${kind}, written by \`parley crds\` from the schema that the program reads it by. Do not edit: a test compares.\n`
  return note + yamlText(manifest)
}
