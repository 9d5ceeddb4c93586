"""Values and decisions of Kalends; standard library only, no I/O.

Glossary (one word per idea, everywhere in the code):

- **tenant**: who owns memories and credentials. **memory**: one agent's store. **scope**: tenant and memory, from a credential.
- **event**: one thing said or done, immutable. **session**: one conversation or run. **chunk**: a part of a document, stored as an event.
- **log**: the only record. **position**: stream and sequence in it. **version**: a position as one ordered integer.
- **projection**: what is derived from the log (``lexical``, ``vector``, ``timeline``) and can be rebuilt from it.
- **arm**: one way of finding. **hit**: one found thing. **facets**: what filters can ask about an event.
- **visibility**: the opaque token for "my write is visible".
"""
