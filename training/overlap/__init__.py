"""The network that hears when two people speak at once: its scenes, its training, and the graph that the service runs.

Talk is put together from recordings of single speakers, far more entangled than it usually is, in rooms from small
to much too live, over noise, knocks and poor lines. Who speaks when is known from the recordings themselves, before
any room: an echo is nobody speaking. One seed gives one network.
"""
