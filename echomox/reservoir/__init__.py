"""The computing of the filter that knows nothing of mail: echo state network, membranes, emotions and their geometry.
Pure: no files, no clock; generators of random numbers are given.
"""
